import { setTimeout as wait } from 'node:timers/promises';
import { engine } from '../../functions/engine.ts';
import { lambdaContext } from '../../local/lambdaContext.ts';

test('a handler answers when its work is done and not before, however little time Lambda leaves it', async () => {
  const handler = engine().handler(async () => wait(100, 'done'));
  expect(await handler({}, { ...lambdaContext('plan'), getRemainingTimeInMillis: () => 10 })).toBe('done');
});
