import { z } from 'zod';
import { logBacklog } from '../../functions/core/backlog.ts';
import { planRun } from '../../functions/core/planRun.ts';
import { reconcileRuns } from '../../functions/core/reconcileRuns.ts';
import { requestRun } from '../../functions/core/requestRun.ts';
import type { Log } from '../../functions/core/events.ts';
import { settingsWith } from '../support/lakes.ts';
import { held } from '../support/locks.ts';
import { temporaryWorlds } from '../support/world.ts';
import type { World } from '../support/world.ts';

const newWorld = temporaryWorlds();

/** What is logged after this many minutes. */
async function backlog(world: World, running: string | null, minutes = 0): Promise<unknown> {
  const logged: unknown[] = [];
  const log: Log = (event, fields) => void logged.push({ event, ...fields });
  await logBacklog({ ...world.ports, log, now: () => new Date(world.ports.now().getTime() + minutes * 60_000) }, running);
  return logged[0];
}

test('where nothing waits everything is 0', async () => {
  expect(await backlog(newWorld(), null)).toEqual({ event: 'backlog', pendingFiles: 0, oldestPendingMinutes: 0, runMinutes: 0 });
});

test('the oldest pending file counts', async () => {
  const world = newWorld();
  await world.register('step_trainer_landing/old');
  await world.register('accelerometer_landing/new');
  expect(await backlog(world, null, 5)).toMatchObject({ pendingFiles: 2, oldestPendingMinutes: 5, runMinutes: 0 });
});

test('the oldest pending file counts, however many come before it by name', async () => {
  const world = newWorld();
  await world.register('step_trainer_landing/old');
  world.pass(60);
  await world.register(...Array.from({ length: 1_000 }, (_, at) => `accelerometer_landing/${at}`));
  // Each file takes a second to arrive.
  const { pendingFiles, oldestPendingMinutes } = z
    .object({ pendingFiles: z.int(), oldestPendingMinutes: z.int() })
    .parse(await backlog(world, null));
  expect(pendingFiles).toBe(1_000);
  expect(oldestPendingMinutes).toBeGreaterThanOrEqual(60);
});

test('a file that was held waits from its retry on, not from its arrival', async () => {
  const world = newWorld();
  const files = await world.register('customer_landing/held');
  await held(world.ledger, files, 'too many rejects');
  world.pass(3 * 24 * 60);
  await world.ledger.retry({ keys: ['customer_landing/held'] });
  expect(await backlog(world, null, 5)).toMatchObject({ pendingFiles: 1, oldestPendingMinutes: 5 });
});

test('a run counts from its plan, and what it has claimed waits no more', async () => {
  const world = newWorld();
  await world.register('customer_landing/a');
  const runId = (await requestRun(world.ports)) ?? '';
  expect(await backlog(world, runId, 7)).toMatchObject({ pendingFiles: 1, runMinutes: 0 });
  await planRun(world.ports, settingsWith(), runId);
  expect(await backlog(world, runId, 7)).toMatchObject({ pendingFiles: 0, oldestPendingMinutes: 0, runMinutes: 7 });
});

test('reconcile tells it on schedule, once', async () => {
  const world = newWorld();
  await reconcileRuns(world.ports, 'execution ended');
  expect(world.logged).toEqual([]);
  await reconcileRuns(world.ports, 'schedule');
  expect(world.logged).toEqual(['backlog']);
});
