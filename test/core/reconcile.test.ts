import { planRun } from '../../functions/core/planRun.ts';
import { requestRun } from '../../functions/core/requestRun.ts';
import { reconcile } from '../../functions/reconcile.ts';
import { statusChanged } from '../../local/awsEvents.ts';
import { lambdaContext } from '../../local/lambdaContext.ts';
import { settingsWith } from '../support/lakes.ts';
import { temporaryWorlds } from '../support/world.ts';
import type { World } from '../support/world.ts';

const newWorld = temporaryWorlds();

/** A world with one run under way, which Step Functions calls RUNNING whenever it is asked. */
async function running(): Promise<World> {
  const world = newWorld();
  await world.register('customer_landing/a');
  await planRun(world.ports, settingsWith(), (await requestRun(world.ports)) ?? '');
  return world;
}

async function tell(world: World, name: string, status: string): Promise<unknown> {
  const event = statusChanged(name, 'FAILED');
  return reconcile(world.ports)({ ...event, detail: { name, status } }, lambdaContext('reconcile'));
}

test.each([
  ['FAILED', 'FAILED'],
  ['TIMED_OUT', 'FAILED'],
  ['ABORTED', 'ABORTED'],
])('an execution whose event says %s has ended, whatever Step Functions answers at this moment', async (status, found) => {
  const world = await running();
  expect(await tell(world, 'run-1', status)).toMatchObject({ settled: { runId: 'run-1', outcome: 'interrupted' } });
  expect(world.executions.stopped).toEqual(['run-1']);
  expect(await world.ledger.lock()).toBeNull();
  expect((await world.report('run-1')).error?.cause).toContain(`the execution is ${found}`);
});

test('one that succeeded is settled as well', async () => {
  const world = await running();
  world.publish('run-1');
  expect(await tell(world, 'run-1', 'SUCCEEDED')).toMatchObject({ settled: { outcome: 'published' } });
});

test.each(['RUNNING', 'PENDING_REDRIVE'])(
  'an event that says %s, which no rule lets through, is refused and moves nothing',
  async (status) => {
    const world = await running();
    await expect(tell(world, 'run-1', status)).rejects.toThrow(/status/);
    expect(await world.ledger.lock()).toMatchObject({ runId: 'run-1' });
  },
);

test('the run that holds the lock is left alone where another has ended', async () => {
  const world = await running();
  expect(await tell(world, 'run-0', 'FAILED')).toEqual({ settled: null, registered: 0, started: null });
  expect(await world.ledger.lock()).toMatchObject({ runId: 'run-1' });
});
