import { shortCause } from '../../functions/core/shortCause.ts';

const TRACE = ['GateFailedError: 1 of 40 expectations not met', '    at validateRun (file:///var/task/index.mjs:1:1)'];

test.each([
  ['of a Lambda', { errorType: 'GateFailedError', errorMessage: '1 of 40 expectations not met', trace: TRACE }],
  ['of a job', { Id: 'jr_1', JobName: 'stedi-dev-publish', JobRunState: 'FAILED', ErrorMessage: '1 of 40 expectations not met' }],
])('%s the message is told', (_, cause) => {
  expect(shortCause('States.TaskFailed', JSON.stringify(cause))).toBe('1 of 40 expectations not met');
});

test.each(['the state machine said so', '{"half":', '"text"', '7', 'null', '[]', '{"other":"fields"}', '{"errorMessage":5}'])(
  'what is nothing of the kind stays as it is: %s',
  (cause) => {
    expect(shortCause('States.Runtime', cause)).toBe(cause);
  },
);

test('of a job that left no message, how it ended is told', () => {
  const cause = JSON.stringify({ JobName: 'stedi-dev-publish', JobRunState: 'STOPPED', ErrorMessage: '' });
  expect(shortCause('States.TaskFailed', cause)).toBe('job stedi-dev-publish ended as STOPPED and left no message');
});

test('an empty cause is said in words', () => {
  expect(shortCause('States.Timeout', '')).toBe('the state took longer than its timeout');
  expect(shortCause('States.TaskFailed', '')).toBe('no cause was given');
});
