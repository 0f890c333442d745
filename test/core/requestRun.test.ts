import { catalog } from '../../functions/catalog.ts';
import { reconcileRuns } from '../../functions/core/reconcileRuns.ts';
import { requestRun } from '../../functions/core/requestRun.ts';
import { objectCreated, sqsBatch } from '../../local/awsEvents.ts';
import { lambdaContext } from '../../local/lambdaContext.ts';
import { held } from '../support/locks.ts';
import { temporaryWorlds } from '../support/world.ts';

const newWorld = temporaryWorlds();

describe('asking for a run', () => {
  test('takes the lock under a planned name and starts it', async () => {
    const world = newWorld();
    expect(await requestRun(world.ports)).toBe('run-1');
    expect(await world.ledger.lock()).toMatchObject({ runId: 'run-1' });
    expect(world.executions.started).toEqual(['run-1']);
  });

  test('is free while one is going', async () => {
    const world = newWorld();
    await requestRun(world.ports);
    for (let time = 0; time < 100; time += 1) expect(await requestRun(world.ports)).toBeNull();
    expect(world.executions.started).toEqual(['run-1']);
  });

  test('is free while the one that ended is not settled yet', async () => {
    const world = newWorld();
    await requestRun(world.ports);
    world.executions.end('run-1', 'FAILED');
    expect(await requestRun(world.ports)).toBeNull();
    expect(world.executions.started).toEqual(['run-1']);
  });

  test('by many at the same time starts one', async () => {
    const world = newWorld();
    const answers = await Promise.all(Array.from({ length: 20 }, () => requestRun(world.ports)));
    expect(world.executions.started).toHaveLength(1);
    expect(new Set(answers.filter((runId) => runId !== null))).toEqual(new Set(world.executions.started));
  });

  test('repairs a crash between lock and start: the same name is started', async () => {
    const world = newWorld();
    await world.ledger.takeLock('run-planned');
    expect(await requestRun(world.ports)).toBe('run-planned');
    expect(world.executions.started).toEqual(['run-planned']);
    expect(await world.ledger.lock()).toMatchObject({ runId: 'run-planned', fence: 1 });
  });
});

describe('object-created events', () => {
  test('of one object, delivered five times, are one file and one run', async () => {
    const world = newWorld();
    const event = objectCreated(await world.land('customer_landing/a.json'));
    const handler = catalog(world.ports);
    for (let time = 0; time < 3; time += 1) await handler(sqsBatch([event]), lambdaContext('catalog'));
    expect(await handler(sqsBatch([event, event]), lambdaContext('catalog'))).toEqual({ batchItemFailures: [] });
    expect(await world.ledger.pending(10)).toHaveLength(1);
    expect(world.executions.started).toEqual(['run-1']);
  });

  test('of a thousand objects ask for one run', async () => {
    const world = newWorld();
    const files = await Promise.all(Array.from({ length: 1_000 }, (_, at) => world.land(`customer_landing/${at}.json`)));
    const handler = catalog(world.ports);
    for (let at = 0; at < files.length; at += 10)
      await handler(sqsBatch(files.slice(at, at + 10).map(objectCreated)), lambdaContext('catalog'));
    expect(await world.ledger.pending(2_000)).toHaveLength(1_000);
    expect(world.executions.started).toEqual(['run-1']);
  });

  test('of a known file version ask for a run too, if anything is pending', async () => {
    const world = newWorld();
    const [file] = await world.register('customer_landing/a.json');
    const event = objectCreated(file ?? { key: '', version: '', size: 0 });
    await catalog(world.ports)(sqsBatch([event]), lambdaContext('catalog'));
    expect(world.executions.started).toEqual(['run-1']);
  });

  test('of a held file version ask for nothing', async () => {
    const world = newWorld();
    const [file] = await world.register('customer_landing/a.json');
    await held(world.ledger, file === undefined ? [] : [file], 'not pending');
    await catalog(world.ports)(sqsBatch([objectCreated(file ?? { key: '', version: '', size: 0 })]), lambdaContext('catalog'));
    expect(world.executions.started).toEqual([]);
  });

  test('of keys that belong to no landing table are passed over', async () => {
    const world = newWorld();
    const event = objectCreated({ key: 'elsewhere/a.json', version: 'v1', size: 1 });
    expect(await catalog(world.ports)(sqsBatch([event]), lambdaContext('catalog'))).toEqual({ batchItemFailures: [] });
    expect(world.logged).toEqual(['key_ignored']);
    expect(world.executions.started).toEqual([]);
  });

  test.each(['ledger', 'executions'] as const)(
    'stay done where no run can be asked for (%s), and the schedule starts it',
    async (broken) => {
      const world = newWorld();
      const away = async () => Promise.reject(new Error('away'));
      const { executions } = world;
      const ports = {
        ...world.ports,
        ...(broken === 'executions' && { executions: { start: away, status: executions.status.bind(executions) } }),
      };
      if (broken === 'ledger') world.ledger.pending = away;
      const event = objectCreated(await world.land('customer_landing/a.json'));
      expect(await catalog(ports)(sqsBatch([event]), lambdaContext('catalog'))).toEqual({ batchItemFailures: [] });
      expect(world.logged).toEqual([
        'file_registered',
        ...(broken === 'executions' ? ['run_requested'] : []),
        'run_not_requested',
      ]);
      Reflect.deleteProperty(world.ledger, 'pending');
      expect(await reconcileRuns(world.ports, 'schedule')).toMatchObject({ started: 'run-1' });
      expect(executions.started).toEqual(['run-1']);
    },
  );

  test.each(['customer_landing/a.json.part', 'customer_landing/.hidden/a.json'])(
    'of names that are never read are passed over: %s',
    async (key) => {
      const world = newWorld();
      const event = objectCreated(await world.land(key));
      expect(await catalog(world.ports)(sqsBatch([event]), lambdaContext('catalog'))).toEqual({ batchItemFailures: [] });
      expect(world.logged).toEqual(['key_ignored']);
      expect(await world.states()).toEqual({});
      expect(world.executions.started).toEqual([]);
    },
  );

  test('that fail return to the queue alone', async () => {
    const world = newWorld();
    const [good, gone] = [await world.land('customer_landing/a.json'), await world.land('customer_landing/b.json')];
    world.remove(gone.key);
    const batch = sqsBatch([objectCreated(gone), objectCreated(good), { 'detail-type': 'Something else' }]);
    expect(await catalog(world.ports)(batch, lambdaContext('catalog'))).toEqual({
      batchItemFailures: [{ itemIdentifier: '0' }, { itemIdentifier: '2' }],
    });
    expect(await world.states()).toEqual({ 'customer_landing/a.json': 'pending' });
    expect(world.executions.started).toEqual(['run-1']);
  });
});
