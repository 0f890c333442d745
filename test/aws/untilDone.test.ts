import { untilDone } from '../../functions/aws/untilDone.ts';

test('what is refused is tried again until it is done', async () => {
  const outcomes = [false, false, true, true];
  await untilDone('test', async () => outcomes.shift() === true);
  expect(outcomes).toEqual([true]);
});
