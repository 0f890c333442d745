import { setTimeout as wait } from 'node:timers/promises';
import { middleware } from '../../functions/middleware.ts';
import { lambdaContext } from '../../local/lambdaContext.ts';

test('a handler answers when its work is done and not before, however little time Lambda leaves it', async () => {
  const handler = middleware().handler(async () => wait(100, 'done'));
  expect(await handler({}, { ...lambdaContext('plan'), getRemainingTimeInMillis: () => 10 })).toBe('done');
});
