import { setTimeout as wait } from 'node:timers/promises';
import { planRun } from '../../functions/core/planRun.ts';
import { reconcileRuns } from '../../functions/core/reconcileRuns.ts';
import { reportRun } from '../../functions/core/reportRun.ts';
import { requestRun } from '../../functions/core/requestRun.ts';
import type { Landing } from '../../functions/ports.ts';
import { goodEvidence, load } from '../support/evidence.ts';
import { settingsWith } from '../support/lakes.ts';
import { held } from '../support/locks.ts';
import { temporaryWorlds } from '../support/world.ts';
import type { World } from '../support/world.ts';

const newWorld = temporaryWorlds();
const NOTHING = { settled: null, registered: 0, started: null };

/** Registers files, asks for a run and plans it. */
async function planned(world: World, ...keys: string[]): Promise<string> {
  await world.register(...keys);
  const runId = await requestRun(world.ports);
  if (runId === null) throw new Error('no run was started');
  await planRun(world.ports, settingsWith(), runId);
  return runId;
}

/** Asks for a run of a file that vanishes before the run can read it. */
async function requestedForGone(world: World): Promise<string> {
  await world.register('customer_landing/gone');
  world.remove('customer_landing/gone');
  const runId = await requestRun(world.ports);
  if (runId === null) throw new Error('no run was started');
  return runId;
}

/** Pretends that a planned run has built its tables and loaded its files. */
async function built(world: World, runId: string): Promise<void> {
  const { files } = await world.manifest(runId);
  const { steps, audits } = goodEvidence();
  for (const { staging } of steps) {
    if (staging === undefined) continue;
    const own = files.filter(({ table }) => table === staging.landingTable);
    staging.files = own.map(({ key, version }) => load(key, { version, staged: 2 }));
  }
  await world.writeMetrics(runId, { steps, audits });
}

describe('where nothing is going', () => {
  test('there is nothing to do', async () => {
    const world = newWorld();
    expect(await reconcileRuns(world.ports, 'schedule')).toEqual(NOTHING);
    expect(await reconcileRuns(world.ports, 'execution ended')).toEqual(NOTHING);
  });

  test('what is pending starts a run', async () => {
    const world = newWorld();
    await world.register('customer_landing/a');
    expect(await reconcileRuns(world.ports, 'schedule')).toEqual({ ...NOTHING, started: 'run-1' });
  });

  test('landed files whose event was lost are registered on schedule, and run', async () => {
    const world = newWorld();
    await world.register('customer_landing/known');
    await world.land('customer_landing/lost');
    await world.land('step_trainer_landing/lost too');
    await world.land('customer_landing/lost.part');
    expect(await reconcileRuns(world.ports, 'schedule')).toEqual({ ...NOTHING, registered: 2, started: 'run-1' });
    expect(Object.keys(await world.states())).toEqual([
      'customer_landing/known',
      'customer_landing/lost',
      'step_trainer_landing/lost too',
    ]);
  });

  test('a changed definition starts a run on schedule', async () => {
    const world = newWorld();
    await world.ledger.setPublished({ runId: 'run-0', definition: 'abc' });
    expect(await reconcileRuns(world.ports, 'schedule')).toEqual(NOTHING);
    expect(await reconcileRuns(world.redefined('def'), 'execution ended')).toEqual(NOTHING);
    expect(await reconcileRuns(world.redefined('def'), 'schedule')).toEqual({ ...NOTHING, started: 'run-1' });
  });
});

describe('a changed definition whose runs fail', () => {
  /** A scheduled pass; the run that it starts is planned and then killed. */
  async function pass(world: World, definition = 'def'): Promise<string | null> {
    const ports = world.redefined(definition);
    const { started } = await reconcileRuns(ports, 'schedule');
    if (started === null) return null;
    expect(await planRun(ports, settingsWith(), started)).toMatchObject({ status: 'RUN' });
    world.executions.end(started, 'FAILED');
    expect(await reconcileRuns(ports, 'execution ended')).toMatchObject({ settled: { outcome: 'interrupted' }, started: null });
    return started;
  }

  async function passes(world: World, times: number, definition?: string) {
    const started = [];
    for (let time = 0; time < times; time += 1) started.push(await pass(world, definition));
    return started;
  }

  test('is tried three times, and then not for ever', async () => {
    const world = newWorld();
    world.publish('run-0');
    await world.ledger.setPublished({ runId: 'run-0', definition: 'abc' });
    expect(await passes(world, 5)).toEqual(['run-1', 'run-2', 'run-3', null, null]);
    expect(world.logged).toContain('definition_given_up');
  });

  test('is tried again with a new file, and another definition for its own sake', async () => {
    const world = newWorld();
    world.publish('run-0');
    await world.ledger.setPublished({ runId: 'run-0', definition: 'abc' });
    await passes(world, 4);
    await world.register('customer_landing/a');
    expect(await pass(world)).toBe('run-4');
    await held(world.ledger, await world.ledger.pending(1), 'enough');
    expect(await pass(world)).toBeNull();
    expect(await passes(world, 4, 'other')).toEqual(['run-5', 'run-6', 'run-7', null]);
  });

  test('counts anew where it was published, replaced and comes back', async () => {
    const world = newWorld();
    world.publish('run-0');
    await world.ledger.setPublished({ runId: 'run-0', definition: 'abc' });
    await passes(world, 2);
    await world.ledger.setPublished({ runId: 'run-2', definition: 'def' });
    expect(await pass(world)).toBeNull();
    await world.ledger.setPublished({ runId: 'run-9', definition: 'abc' });
    expect(await passes(world, 4)).toEqual(['run-3', 'run-4', 'run-5', null]);
  });

  test('has not been tried by a pass that finds another run going', async () => {
    const world = newWorld();
    world.publish('run-0');
    await world.ledger.setPublished({ runId: 'run-0', definition: 'abc' });
    const runId = await planned(world, 'customer_landing/a');
    await built(world, runId);
    for (let time = 0; time < 4; time += 1)
      expect(await reconcileRuns(world.redefined('def'), 'schedule')).toMatchObject({ started: null });
    world.publish(runId);
    world.executions.end(runId, 'SUCCEEDED');
    expect(await reconcileRuns(world.redefined('def'), 'execution ended')).toMatchObject({ settled: { outcome: 'published' } });
    expect(await pass(world)).not.toBeNull();
  });
});

describe('listing landing', () => {
  /** Lists as landing does, but one file version per page; `between` is called before each page. */
  function listing(world: World, between: (page: number) => void): World['ports'] {
    const landing = {
      prepare: world.landing.prepare.bind(world.landing),
      head: world.landing.head.bind(world.landing),
      async *list(after?: string | null) {
        let page = 0;
        for await (const files of world.landing.list(after)) {
          for (const file of files) {
            between((page += 1));
            yield [file];
          }
        }
      },
    };
    return { ...world.ports, landing };
  }

  test('comes after everything else: what ended is settled and what is due is started although it fails', async () => {
    const world = newWorld();
    const runId = await planned(world, 'customer_landing/a');
    await world.register('customer_landing/b');
    world.executions.end(runId, 'ABORTED');
    const ports = listing(world, () => {
      expect(world.executions.started).toEqual(['run-1', 'run-2']);
      expect(world.logged).toContain('backlog');
      throw new Error('S3 is away');
    });
    await expect(reconcileRuns(ports, 'schedule')).rejects.toThrow('S3 is away');
    expect(await world.ledger.lock()).toMatchObject({ runId: 'run-2' });
    expect(await world.states()).toEqual({ 'customer_landing/a': 'pending', 'customer_landing/b': 'pending' });
  });

  test('registers all that a page holds, also more than are looked at side by side', async () => {
    const world = newWorld();
    for (let at = 0; at < 201; at += 1) await world.land(`customer_landing/${at}`);
    expect(await reconcileRuns(world.ports, 'schedule')).toMatchObject({ registered: 201 });
  });

  test('that fails half way starts a run for what it has registered before it says so', async () => {
    const world = newWorld();
    for (const key of ['customer_landing/a', 'customer_landing/b']) await world.land(key);
    const ports = listing(world, (page) => {
      if (page === 2) throw new Error('S3 is away');
    });
    await expect(reconcileRuns(ports, 'schedule')).rejects.toThrow('S3 is away');
    expect(await world.states()).toEqual({ 'customer_landing/a': 'pending' });
    expect(world.executions.started).toEqual(['run-1']);
  });

  test('stops after ten minutes, and goes on from there in the next pass', async () => {
    const world = newWorld();
    const keys = ['a', 'b', 'c', 'd', 'e'].map((name) => `customer_landing/${name}`);
    for (const key of keys) await world.land(key);
    const slow = listing(world, () => world.pass(4));
    expect(await reconcileRuns(slow, 'schedule')).toMatchObject({ registered: 3, started: 'run-1' });
    expect(world.logged).toContain('listing_paused');
    expect(await world.ledger.memory()).toMatchObject({ listedTo: 'customer_landing/b' });
    expect(await reconcileRuns(slow, 'schedule')).toMatchObject({ registered: 2, started: null });
    await reconcileRuns(world.ports, 'schedule');
    expect(await world.ledger.memory()).toMatchObject({ listedTo: null });
    expect(Object.keys(await world.states())).toEqual(keys);
  });

  test('that is over after its first page has not looked at everything', async () => {
    const world = newWorld();
    for (const key of ['customer_landing/a', 'step_trainer_landing/b']) await world.land(key);
    expect(
      await reconcileRuns(
        listing(world, () => world.pass(11)),
        'schedule',
      ),
    ).toMatchObject({ registered: 1 });
    expect(await world.ledger.memory()).toMatchObject({ listedTo: null, checked: null });
  });

  test('begins anew after a failure: the place to go on from may be what fails', async () => {
    const world = newWorld();
    for (const key of ['customer_landing/a', 'customer_landing/b']) await world.land(key);
    await world.ledger.remember({ ...(await world.ledger.memory()), listedTo: 'customer_landing/a' });
    const broken = listing(world, () => {
      throw new Error('no such marker');
    });
    await expect(reconcileRuns(broken, 'schedule')).rejects.toThrow('no such marker');
    expect(await reconcileRuns(world.ports, 'schedule')).toMatchObject({ registered: 2 });
  });

  test('passes over a file that can not be looked at, and registers the others', async () => {
    const world = newWorld();
    for (const name of ['a', 'b', 'c']) await world.land(`customer_landing/${name}`);
    const ports = listing(world, () => undefined);
    const head: World['ports']['landing']['head'] = async (key, bytes) => {
      if (key === 'customer_landing/b') throw new Error('denied');
      return world.landing.head(key, bytes);
    };
    const landing = { ...ports.landing, head };
    expect(await reconcileRuns({ ...ports, landing }, 'schedule')).toMatchObject({ registered: 2, started: 'run-1' });
    expect(await world.states()).toEqual({ 'customer_landing/a': 'pending', 'customer_landing/c': 'pending' });
    expect(world.logged).toContain('catalog_failed');
  });

  test('goes on from its place although the pass starts a run, and when it is through nothing else is forgotten', async () => {
    const world = newWorld();
    world.publish('run-0');
    await world.ledger.setPublished({ runId: 'run-0', definition: 'abc' });
    for (const name of ['a', 'c']) await world.land(`customer_landing/${name}`);
    const checking = '2026-01-01T00:00:00.000Z';
    const place = { listedTo: 'customer_landing/b', checking, checked: null };
    await world.ledger.remember({ tried: { definition: 'def', runs: 1 }, ...place });
    expect(await reconcileRuns(world.redefined('def'), 'schedule')).toMatchObject({ registered: 1, started: 'run-1' });
    expect(await world.ledger.memory()).toEqual({
      tried: { definition: 'def', runs: 2 },
      listedTo: null,
      checking: null,
      checked: checking,
    });
  });
});

describe('looking up in the ledger what was listed', () => {
  const MINUTES = 15;
  const DAY = 24 * 60;

  /** A world whose landing reports when files landed, and the keys that each scheduled pass looks up. */
  function watched() {
    const world = newWorld();
    const landedAt = new Map<string, string>();
    const lookedUp: string[] = [];
    const unknown = world.ledger.unknown.bind(world.ledger);
    world.ledger.unknown = async (files) => {
      lookedUp.push(...files.map(({ key }) => key.slice('customer_landing/'.length)));
      return unknown(files);
    };
    let perPage = () => undefined as void;
    const landing = {
      prepare: world.landing.prepare.bind(world.landing),
      head: world.landing.head.bind(world.landing),
      async *list(after?: string | null) {
        for await (const files of world.landing.list(after)) {
          for (const file of files) {
            perPage();
            yield [{ ...file, landedAt: landedAt.get(file.key) }];
          }
        }
      },
    };
    return {
      world,
      land: async (name: string) => {
        const { key } = await world.land(`customer_landing/${name}`);
        landedAt.set(key, world.ports.now().toISOString());
      },
      /** What the next pass looks up; `page` happens before each page of its listing. */
      pass: async (page: () => void = () => undefined) => {
        perPage = page;
        lookedUp.splice(0);
        world.pass(MINUTES);
        await reconcileRuns({ ...world.ports, landing }, 'schedule').catch(() => undefined);
        return [...lookedUp];
      },
    };
  }

  test('asks for everything once a day, and in between for what is new or landed on the day before', async () => {
    const { world, land, pass } = watched();
    await land('old');
    world.pass(2 * DAY);
    await land('recent');
    expect(await pass()).toEqual(['old', 'recent']);
    await land('lost');
    expect(await pass()).toEqual(['lost', 'recent']);
    expect(Object.keys(await world.states())).toHaveLength(3);
    world.pass(DAY - 3 * MINUTES);
    expect(await pass()).toEqual(['lost', 'recent']);
    expect(await pass()).toEqual(['lost', 'old', 'recent']);
    world.pass(DAY - 2 * MINUTES);
    expect(await pass()).toEqual(['lost']);
    world.pass(MINUTES);
    expect(await pass()).toEqual(['lost', 'old', 'recent']);
    expect(await pass()).toEqual([]);
  });

  test('asks for everything where landing does not tell when files landed', async () => {
    const world = newWorld();
    await world.land('customer_landing/a');
    await reconcileRuns(world.ports, 'schedule');
    world.pass(MINUTES);
    await world.land('customer_landing/b');
    expect(await reconcileRuns(world.ports, 'schedule')).toMatchObject({ registered: 1 });
  });

  test('asks for everything where the ledger was emptied', async () => {
    const { world, land, pass } = watched();
    await land('old');
    world.pass(2 * DAY);
    await pass();
    expect(await pass()).toEqual([]);
    await world.ledger.remember({ tried: null, listedTo: null, checking: null, checked: null });
    expect(await pass()).toEqual(['old']);
  });

  test('goes on asking for everything where the pass before had no time for more, and after one that failed', async () => {
    const { world, land, pass } = watched();
    for (const name of ['a', 'b', 'c', 'd']) await land(name);
    world.pass(2 * DAY);
    expect(await pass(() => world.pass(6))).toEqual(['a', 'b']);
    expect(await pass()).toEqual(['b', 'c', 'd']);
    expect(await pass()).toEqual([]);
    world.pass(DAY);
    let pages = 0;
    const failing = () => {
      if ((pages += 1) === 3) throw new Error('S3 is away');
    };
    expect(await pass(failing)).toEqual(['a', 'b']);
    expect(await pass()).toEqual(['a', 'b', 'c', 'd']);
  });
});

describe('while a run is going', () => {
  test('it is left alone, whatever ended', async () => {
    const world = newWorld();
    await planned(world, 'customer_landing/a');
    await world.register('customer_landing/b');
    expect(await reconcileRuns(world.ports, 'execution ended')).toEqual(NOTHING);
    expect(await reconcileRuns(world.ports, 'schedule')).toEqual(NOTHING);
    expect(await world.ledger.lock()).toMatchObject({ runId: 'run-1' });
    expect(await world.states()).toEqual({ 'customer_landing/a': 'claimed', 'customer_landing/b': 'pending' });
  });

  test('one that was planned but never started is started under its name', async () => {
    const world = newWorld();
    await world.ledger.takeLock('run-planned');
    expect(await reconcileRuns(world.ports, 'schedule')).toEqual({ ...NOTHING, started: 'run-planned' });
    expect(world.executions.started).toEqual(['run-planned']);
  });
});

describe('after a run that was published', () => {
  test('the ledger is closed, the lock is free, and nothing follows where nothing is pending', async () => {
    const world = newWorld();
    const runId = await planned(world, 'customer_landing/a');
    await built(world, runId);
    world.publish(runId);
    world.executions.end(runId, 'SUCCEEDED');
    expect(await reconcileRuns(world.ports, 'execution ended')).toEqual({ ...NOTHING, settled: { runId, outcome: 'published' } });
    expect(await world.files()).toMatchObject({ 'customer_landing/a': { state: 'loaded', counts: { landed: 2, staged: 2 } } });
    expect(await world.ledger.lock()).toBeNull();
    expect(await world.ledger.published()).toEqual({ runId, definition: 'abc' });
    expect(world.executions.stopped).toEqual([runId]);
    expect(await reconcileRuns(world.ports, 'schedule')).toEqual(NOTHING);
  });

  test('its landing tables know the fields that it has found, and a table that can not be changed keeps nobody waiting', async () => {
    const world = newWorld();
    const runId = await planned(world, 'customer_landing/a', 'accelerometer_landing/b');
    const { steps, audits } = goodEvidence();
    for (const { staging } of steps)
      if (staging !== undefined)
        staging.files = [load('a', { unknownFields: ['Shoe size'] }), load('b', { unknownFields: ['later'] })];
    await world.writeMetrics(runId, { steps, audits });
    world.publish(runId);
    world.executions.end(runId, 'SUCCEEDED');
    const asked: unknown[] = [];
    const ensure = async (table: string, columns: readonly string[]) => {
      asked.push([table, columns]);
      if (table === 'accelerometer_landing') throw new Error('denied');
    };
    expect(await reconcileRuns({ ...world.ports, landingTables: { ensure } }, 'execution ended')).toMatchObject({
      settled: { outcome: 'published' },
    });
    expect(asked).toEqual([
      ['customer_landing', ['shoe_size', 'later']],
      ['accelerometer_landing', ['shoe_size', 'later']],
    ]);
    expect(world.logged).toContain('columns_not_added');
    expect((await world.ledger.lock())?.runId).not.toBe(runId);
  });

  test('what arrived meanwhile is one follow-up', async () => {
    const world = newWorld();
    const runId = await planned(world, 'customer_landing/a');
    for (let file = 0; file < 50; file += 1) {
      await world.register(`customer_landing/later-${file}`);
      await requestRun(world.ports);
    }
    await built(world, runId);
    world.publish(runId);
    world.executions.end(runId, 'SUCCEEDED');
    expect(await reconcileRuns(world.ports, 'execution ended')).toMatchObject({ started: 'run-2' });
    expect(await reconcileRuns(world.ports, 'execution ended')).toEqual(NOTHING);
    expect(await planRun(world.ports, settingsWith(), 'run-2')).toMatchObject({ files: 50 });
    expect(world.executions.started).toEqual(['run-1', 'run-2']);
  });

  test('and killed before it closed the ledger, the lake tells that it was published', async () => {
    const world = newWorld();
    const runId = await planned(world, 'customer_landing/a');
    await built(world, runId);
    world.publish(runId);
    world.executions.end(runId, 'ABORTED');
    expect(await reconcileRuns(world.ports, 'schedule')).toMatchObject({ settled: { outcome: 'published' }, started: null });
    expect(await world.states()).toEqual({ 'customer_landing/a': 'loaded' });
    expect(await world.runFiles.read(runId, 'report.md')).toMatch(/^# /);
  });
});

describe('after a run that was interrupted while it published', () => {
  async function publishing(world: World): Promise<string> {
    const runId = await planned(world, 'customer_landing/a');
    await built(world, runId);
    await world.ledger.markPublishing(runId, 1);
    world.executions.end(runId, 'FAILED');
    return runId;
  }

  test('the publish is repeated with its fence', async () => {
    const world = newWorld();
    const runId = await publishing(world);
    world.lake.resumes = true;
    expect(await reconcileRuns(world.ports, 'schedule')).toMatchObject({ settled: { runId, outcome: 'published' } });
    expect(world.lake.resumed).toEqual([1]);
    expect(await world.states()).toEqual({ 'customer_landing/a': 'loaded' });
  });

  test('the failure that its execution reported is followed by the news that it is published', async () => {
    const world = newWorld();
    const runId = await publishing(world);
    await reportRun(world.ports, runId, { name: 'States.TaskFailed', cause: 'the job was killed' });
    expect(await world.runFiles.read(runId, 'report.md')).toMatch(/^# FAILED: some tables may be published already/);
    world.lake.resumes = true;
    world.lake.counts = goodEvidence().audits?.counts ?? world.lake.counts;
    await reconcileRuns(world.ports, 'execution ended');
    expect(world.alerts.map(({ attributes }) => attributes['status'])).toEqual(['FAILED', 'SUCCEEDED']);
    expect(await world.runFiles.read(runId, 'report.md')).toContain('SUCCEEDED');
  });

  test('a publish that had published all, but did not come to its end, is repeated, and no run waits for it when that fails', async () => {
    const world = newWorld();
    const runId = await publishing(world);
    world.publish(runId);
    expect(await reconcileRuns(world.ports, 'execution ended')).toMatchObject({ settled: { outcome: 'published' } });
    expect(world.lake.resumed).toEqual([1]);

    const other = newWorld();
    other.publish(await publishing(other));
    other.ports.lake.resumePublish = async () => Promise.reject(new Error('denied'));
    expect(await reconcileRuns(other.ports, 'execution ended')).toMatchObject({ settled: { outcome: 'published' } });
    expect(other.logged).toContain('publish_not_finished');
    expect(await other.ledger.lock()).toBeNull();
  });

  test('a publish that began while reconcile looked, and was stopped half way, is repeated, and that is told after the failure', async () => {
    const world = newWorld();
    const runId = await planned(world, 'customer_landing/a');
    await built(world, runId);
    await reportRun(world.ports, runId, { name: 'States.TaskFailed', cause: 'the job was stopped' });
    world.executions.end(runId, 'ABORTED');
    world.lake.resumes = true;
    world.lake.counts = goodEvidence().audits?.counts ?? world.lake.counts;
    world.executions.stopJobs = async () => world.ledger.markPublishing(runId, 1);
    expect(await reconcileRuns(world.ports, 'execution ended')).toMatchObject({ settled: { runId, outcome: 'published' } });
    expect(world.lake.resumed).toEqual([1]);
    expect(world.alerts.map(({ attributes }) => attributes['status'])).toEqual(['FAILED', 'SUCCEEDED']);
  });

  test('a publish that came to its end with other counts than the gate saw is neither repeated nor reported again', async () => {
    const world = newWorld();
    const runId = await publishing(world);
    world.publish(runId);
    expect(await reportRun(world.ports, runId, null)).toMatchObject({ status: 'FAILED' });
    expect(await reconcileRuns(world.ports, 'execution ended')).toMatchObject({ settled: { outcome: 'published' } });
    expect(world.lake.resumed).toEqual([]);
    expect(world.alerts).toHaveLength(1);
  });

  test('a publish that came to its end is not repeated', async () => {
    const world = newWorld();
    const runId = await publishing(world);
    world.publish(runId);
    world.executions.end(runId, 'SUCCEEDED');
    await reconcileRuns(world.ports, 'execution ended');
    expect(world.lake.resumed).toEqual([]);
  });

  test('and left nothing to publish, its claims go back, and the failure that was reported is not told again', async () => {
    const world = newWorld();
    const runId = await publishing(world);
    await reportRun(world.ports, runId, { name: 'States.TaskFailed', cause: 'the job was killed' });
    expect(await reconcileRuns(world.ports, 'schedule')).toMatchObject({ settled: { outcome: 'interrupted' } });
    expect(await world.states()).toEqual({ 'customer_landing/a': 'pending' });
    expect(world.alerts).toHaveLength(1);
  });

  test('nothing is repeated of a run that had not begun to publish', async () => {
    const world = newWorld();
    const runId = await planned(world, 'customer_landing/a');
    world.executions.end(runId, 'FAILED');
    world.lake.resumes = true;
    await reconcileRuns(world.ports, 'schedule');
    expect(world.lake.resumed).toEqual([]);
  });

  test('a publish that can not be repeated keeps its lock and its claims, and the pass fails', async () => {
    const world = newWorld();
    const runId = await publishing(world);
    world.ports.lake.resumePublish = async () => Promise.reject(new Error('denied'));
    for (const occasion of ['execution ended', 'schedule'] as const)
      await expect(reconcileRuns(world.ports, occasion)).rejects.toThrow('denied');
    expect(world.logged).toContain('backlog'); // so that an alarm shows how long files wait for it
    expect(await world.ledger.lock()).toMatchObject({ runId, publishing: true });
    expect(await world.states()).toEqual({ 'customer_landing/a': 'claimed' });
  });

  test('a run is settled once its jobs have stopped: what one of them published meanwhile is published', async () => {
    const world = newWorld();
    const runId = await planned(world, 'customer_landing/a');
    await built(world, runId);
    world.executions.end(runId, 'ABORTED');
    let meanwhile: unknown = null;
    world.executions.stopJobs = async () => {
      await wait(50);
      meanwhile = await world.states();
      world.publish(runId);
    };
    expect(await reconcileRuns(world.ports, 'execution ended')).toMatchObject({ settled: { runId, outcome: 'published' } });
    expect(meanwhile).toEqual({ 'customer_landing/a': 'claimed' });
    expect(await world.states()).toEqual({ 'customer_landing/a': 'loaded' });
  });
});

describe('after a run whose gate failed', () => {
  test('the culprits are held and the rest runs again at once', async () => {
    const world = newWorld();
    const runId = await planned(world, 'customer_landing/bad', 'customer_landing/good');
    await built(world, runId);
    const bad = (await world.files())['customer_landing/bad'];
    await world.failGate(runId, bad === undefined ? [] : [bad], '9 of 10 records rejected');
    world.executions.end(runId, 'FAILED');
    expect(await reconcileRuns(world.ports, 'execution ended')).toEqual({
      ...NOTHING,
      settled: { runId, outcome: 'gate failed' },
      started: 'run-2',
    });
    expect(await world.files()).toMatchObject({
      'customer_landing/bad': { state: 'held', why: '9 of 10 records rejected', runId },
      'customer_landing/good': { state: 'pending', attempts: 0 },
    });
    expect(await world.ledger.published()).toBeNull();
    expect(await planRun(world.ports, settingsWith(), 'run-2')).toMatchObject({ files: 1 });
  });

  test('that held the whole claim, nothing follows until something arrives', async () => {
    const world = newWorld();
    const runId = await planned(world, 'customer_landing/a');
    await world.failGate(runId, Object.values(await world.files()), 'an audit failed');
    world.executions.end(runId, 'FAILED');
    expect(await reconcileRuns(world.ports, 'execution ended')).toMatchObject({ started: null });
    expect(await reconcileRuns(world.ports, 'schedule')).toEqual(NOTHING);
    await world.register('customer_landing/new');
    expect(await reconcileRuns(world.ports, 'schedule')).toMatchObject({ started: 'run-2' });
    expect(await world.states()).toEqual({ 'customer_landing/a': 'held', 'customer_landing/new': 'pending' });
  });
});

test.each([
  ['is applied by a run of its own', ['customer_landing/bad'], 'run-2'],
  ['that had a run of its own is not tried again at once', [], null],
])('a changed definition whose gate failed %s', async (_, keys, next) => {
  const world = newWorld();
  world.publish('run-0');
  await world.ledger.setPublished({ runId: 'run-0', definition: 'abc' });
  const ports = world.redefined('def');
  await world.register(...keys);
  await requestRun(ports);
  await planRun(ports, settingsWith(), 'run-1');
  await world.failGate('run-1', Object.values(await world.files()));
  world.executions.end('run-1', 'FAILED');
  expect(await reconcileRuns(ports, 'execution ended')).toMatchObject({ settled: { outcome: 'gate failed' }, started: next });
});

describe('after a run that was interrupted', () => {
  test('its claims go back, it is reported, and the next schedule tries again', async () => {
    const world = newWorld();
    const runId = await planned(world, 'customer_landing/a');
    world.executions.end(runId, 'ABORTED');
    expect(await reconcileRuns(world.ports, 'execution ended')).toEqual({
      ...NOTHING,
      settled: { runId, outcome: 'interrupted' },
    });
    expect(await world.files()).toMatchObject({ 'customer_landing/a': { state: 'pending', attempts: 1 } });
    expect(await world.report(runId)).toMatchObject({
      status: 'FAILED',
      error: { name: 'Interrupted', cause: expect.stringContaining('ABORTED') as unknown },
    });
    expect(world.alerts).toHaveLength(1);
    expect(await reconcileRuns(world.ports, 'schedule')).toMatchObject({ started: 'run-2' });
  });

  test('the backlog counts no minutes of it any more', async () => {
    const world = newWorld();
    const runId = await planned(world, 'customer_landing/a');
    world.pass(60);
    world.executions.end(runId, 'ABORTED');
    const logged: unknown[] = [];
    await reconcileRuns({ ...world.ports, log: (...event) => void logged.push(event) }, 'schedule');
    expect(logged).toContainEqual(['backlog', expect.objectContaining({ runMinutes: 0 })]);
  });

  test('and three times in a row, what it claimed is held', async () => {
    const world = newWorld();
    await world.register('customer_landing/a');
    for (const runId of ['run-1', 'run-2', 'run-3']) {
      expect(await reconcileRuns(world.ports, 'schedule')).toMatchObject({ started: runId });
      await planRun(world.ports, settingsWith(), runId);
      world.executions.end(runId, 'ABORTED');
      expect(await reconcileRuns(world.ports, 'execution ended')).toMatchObject({
        settled: { outcome: 'interrupted' },
        started: null,
      });
    }
    expect(await world.states()).toEqual({ 'customer_landing/a': 'held' });
    expect((await world.files())['customer_landing/a']?.why).toMatch(/3 runs in a row/);
    expect(await reconcileRuns(world.ports, 'schedule')).toEqual(NOTHING);
    await world.ledger.retry({ keys: ['customer_landing/a'] });
    expect(await world.files()).toMatchObject({ 'customer_landing/a': { state: 'pending', attempts: 0 } });
  });

  test('for the third time, the alert says what is held, whoever reported the run', async () => {
    const world = newWorld();
    await world.register('customer_landing/a');
    for (const runId of ['run-1', 'run-2', 'run-3']) {
      await reconcileRuns(world.ports, 'schedule');
      await planRun(world.ports, settingsWith(), runId);
      await reportRun(world.ports, runId, { name: 'States.TaskFailed', cause: 'no network' });
      world.executions.end(runId, 'FAILED');
      await reconcileRuns(world.ports, 'execution ended');
    }
    expect(world.alerts.map(({ attributes }) => attributes)).toEqual([
      { status: 'FAILED', runId: 'run-1' },
      { status: 'FAILED', runId: 'run-2' },
      { status: 'FAILED', runId: 'run-3' },
      { status: 'HELD', runId: 'run-3' },
    ]);
    expect(world.alerts.at(-1)?.text).toMatch(/1 file waits for a person[^]*customer_landing\/a[^]*3 runs in a row/);

    await world.ledger.retry({ keys: ['customer_landing/a'] });
    for (const runId of ['run-4', 'run-5', 'run-6']) {
      await reconcileRuns(world.ports, 'schedule');
      await planRun(world.ports, settingsWith(), runId);
      world.executions.end(runId, 'ABORTED');
      await reconcileRuns(world.ports, 'execution ended');
    }
    expect(world.alerts.slice(4).map(({ attributes }) => attributes['status'])).toEqual(['FAILED', 'FAILED', 'FAILED']);
    expect(world.alerts.at(-1)?.text).toMatch(/Held, waiting for a person[^]*customer_landing\/a/);
  });

  test('in Plan, before it claimed anything, nothing follows at once, and it is reported once', async () => {
    const world = newWorld();
    await world.register('customer_landing/a');
    const landing = { ...world.ports.landing, prepare: async () => Promise.reject(new Error('S3 is away')) };
    const runId = await requestRun(world.ports);
    await expect(planRun({ ...world.ports, landing }, settingsWith(), 'run-1')).rejects.toThrow('S3 is away');
    await reportRun(world.ports, 'run-1', { name: 'Error', cause: 'S3 is away' });
    world.executions.end('run-1', 'FAILED');
    expect(await reconcileRuns(world.ports, 'execution ended')).toEqual({
      ...NOTHING,
      settled: { runId, outcome: 'nothing to do' },
    });
    expect(world.alerts).toHaveLength(1);
    expect(await reconcileRuns(world.ports, 'schedule')).toMatchObject({ started: 'run-2' });
  });

  test('its own report stays', async () => {
    const world = newWorld();
    const runId = await planned(world, 'customer_landing/a');
    await world.runFiles.write(runId, 'report.md', '# FAILED: by itself\n');
    world.executions.end(runId, 'FAILED');
    await reconcileRuns(world.ports, 'execution ended');
    expect(await world.runFiles.read(runId, 'report.md')).toBe('# FAILED: by itself\n');
    expect(world.alerts).toEqual([]);
  });
});

describe('after a run with nothing to do', () => {
  test('the lock is free and nobody is told', async () => {
    const world = newWorld();
    await requestRun(world.ports);
    await planRun(world.ports, settingsWith(), 'run-1');
    world.executions.end('run-1', 'SUCCEEDED');
    expect(await reconcileRuns(world.ports, 'execution ended')).toEqual({
      ...NOTHING,
      settled: { runId: 'run-1', outcome: 'nothing to do' },
    });
    expect(await world.ledger.lock()).toBeNull();
    expect(world.alerts).toEqual([]);
    expect(await world.runFiles.read('run-1', 'report.md')).toBeNull();
  });

  test('because all that was pending is held, an alert says so', async () => {
    const world = newWorld();
    await world.register('customer_landing/gone');
    world.remove('customer_landing/gone');
    await requestRun(world.ports);
    expect(await planRun(world.ports, settingsWith(), 'run-1')).toMatchObject({ status: 'NOTHING_TO_DO' });
    world.executions.end('run-1', 'SUCCEEDED');
    expect(await reconcileRuns(world.ports, 'execution ended')).toMatchObject({ started: null });
    expect(world.alerts).toMatchObject([{ subject: 'STEDI lakehouse: HELD run-1', attributes: { status: 'HELD' } }]);
    expect(world.alerts[0]?.text).toMatch(/customer_landing\/gone \| the file vanished/);
    expect(await world.states()).toEqual({ 'customer_landing/gone': 'held' });
  });

  test('what arrived behind its back is a follow-up', async () => {
    const world = newWorld();
    await requestRun(world.ports);
    await planRun(world.ports, settingsWith(), 'run-1');
    await world.register('customer_landing/late');
    world.executions.end('run-1', 'SUCCEEDED');
    expect(await reconcileRuns(world.ports, 'execution ended')).toMatchObject({ started: 'run-2' });
  });
});

describe('when reconcile itself breaks', () => {
  test('in the middle, doing it again comes to the same', async () => {
    const world = newWorld();
    const runId = await planned(world, 'customer_landing/a');
    await built(world, runId);
    world.publish(runId);
    world.executions.end(runId, 'SUCCEEDED');
    const broken = { ...world.ports, alerts: { send: async () => Promise.reject(new Error('no mail today')) } };
    await expect(reconcileRuns(broken, 'execution ended')).rejects.toThrow('no mail today');
    await reconcileRuns(world.ports, 'schedule');
    expect(await world.states()).toEqual({ 'customer_landing/a': 'loaded' });
    expect(await world.ledger.lock()).toBeNull();
    expect(await world.ledger.published()).toEqual({ runId, definition: 'abc' });
    expect(world.alerts).toMatchObject([{ attributes: { runId } }]);
  });

  test('by an alert that can never be sent, the schedule lets runs go on', async () => {
    const world = newWorld();
    const runId = await planned(world, 'customer_landing/a');
    world.executions.end(runId, 'ABORTED');
    const broken = { ...world.ports, alerts: { send: async () => Promise.reject(new Error('no mail today')) } };
    for (let delivery = 0; delivery < 3; delivery += 1)
      await expect(reconcileRuns(broken, 'execution ended')).rejects.toThrow('no mail today');
    expect(await world.ledger.lock()).toMatchObject({ runId });
    expect(await reconcileRuns(broken, 'schedule')).toMatchObject({ started: 'run-2' });
    expect(world.logged).toContain('alert_failed');
  });
});

describe('where two reconciles overlap', () => {
  test('the one that is late does not free the lock that a late Plan of the same run has taken anew', async () => {
    const world = newWorld();
    await world.register('customer_landing/a');
    const runId = (await requestRun(world.ports)) ?? '';
    world.executions.end(runId, 'ABORTED');
    const free = world.ledger.freeLock.bind(world.ledger);
    world.ledger.freeLock = async (...held) => {
      world.ledger.freeLock = free;
      await reconcileRuns(world.ports, 'execution ended', { runId, status: 'ABORTED' });
      await planRun(world.ports, settingsWith(), runId);
      await free(...held);
    };
    await world.ledger.takeLock(runId);
    await reconcileRuns(world.ports, 'schedule');
    expect(await world.states()).toEqual({ 'customer_landing/a': 'claimed' });
    expect(await reconcileRuns(world.ports, 'schedule')).toMatchObject({ settled: { runId }, started: 'run-2' });
    expect(await world.states()).toEqual({ 'customer_landing/a': 'pending' });
  });
});

describe('nobody is left without news', () => {
  const mute = { send: async () => Promise.reject(new Error('no mail today')) };

  test('where the schedule settled a run and could not tell, the event tells', async () => {
    const world = newWorld();
    const runId = await planned(world, 'customer_landing/a');
    world.executions.end(runId, 'ABORTED');
    await reconcileRuns({ ...world.ports, alerts: mute }, 'schedule');
    expect(world.alerts).toEqual([]);
    for (let delivery = 0; delivery < 2; delivery += 1)
      await reconcileRuns(world.ports, 'execution ended', { runId, status: 'ABORTED' });
    expect(world.alerts).toMatchObject([{ attributes: { runId, status: 'FAILED' } }]);
  });

  test('where the schedule could not tell what is held, the event tells it, and once', async () => {
    const world = newWorld();
    const runId = await requestedForGone(world);
    await planRun(world.ports, settingsWith(), runId);
    world.executions.end(runId, 'SUCCEEDED');
    await reconcileRuns({ ...world.ports, alerts: mute }, 'schedule');
    for (let delivery = 0; delivery < 2; delivery += 1)
      await reconcileRuns(world.ports, 'execution ended', { runId, status: 'SUCCEEDED' });
    expect(world.alerts).toMatchObject([{ attributes: { runId, status: 'HELD' } }]);
  });

  test('where Plan failed and the report of it could not be sent, what it held is told all the same', async () => {
    const world = newWorld();
    const runId = await requestedForGone(world);
    const lake = { ...world.ports.lake, publishedRun: async () => Promise.reject(new Error('Glue is away')) };
    await expect(planRun({ ...world.ports, lake }, settingsWith(), runId)).rejects.toThrow('Glue is away');
    const failure = { name: 'Error', cause: 'Glue is away' };
    await expect(reportRun({ ...world.ports, alerts: mute }, runId, failure)).rejects.toThrow('no mail today');
    world.executions.end(runId, 'FAILED');
    await reconcileRuns(world.ports, 'execution ended');
    expect(world.alerts).toMatchObject([{ attributes: { runId, status: 'FAILED' } }]);
    expect(world.alerts[0]?.text).toContain('customer_landing/gone');
  });

  test('where neither Plan nor the report of its failure was ever called, the failure is told', async () => {
    const world = newWorld();
    await world.register('customer_landing/a');
    const runId = (await requestRun(world.ports)) ?? '';
    world.executions.end(runId, 'FAILED');
    await reconcileRuns(world.ports, 'execution ended', { runId, status: 'FAILED' });
    expect(world.alerts).toMatchObject([{ attributes: { runId, status: 'FAILED' } }]);
  });
});

describe('a Plan that goes on although its execution was aborted', () => {
  test('holds nothing once the run was settled and its lock is free', async () => {
    const world = newWorld();
    const runId = await requestedForGone(world);
    const landing: Landing = {
      prepare: async (run, file) => {
        world.executions.end(runId, 'ABORTED');
        await reconcileRuns(world.ports, 'execution ended');
        return world.landing.prepare(run, file);
      },
      head: async (key, bytes) => world.landing.head(key, bytes),
      list: (...asked) => world.landing.list(...asked),
    };
    await expect(planRun({ ...world.ports, landing }, settingsWith(), runId)).rejects.toMatchObject({ name: 'LockLostError' });
    expect(await world.states()).toEqual({ 'customer_landing/gone': 'pending' });
  });
});

describe('a publish job that begins while its run is settled', () => {
  test('is carried to its end before the lock is free', async () => {
    const world = newWorld();
    const runId = await planned(world, 'customer_landing/a');
    await built(world, runId);
    world.executions.end(runId, 'ABORTED');
    world.lake.resumes = true;
    const { fence } = await world.manifest(runId);
    const settle = world.ledger.settle.bind(world.ledger);
    world.ledger.settle = async (...asked) => {
      if (world.lake.resumed.length === 0) await world.ledger.markPublishing(runId, fence);
      await settle(...asked);
    };
    expect(await reconcileRuns(world.ports, 'execution ended')).toMatchObject({ settled: { runId, outcome: 'published' } });
    expect(world.lake.resumed).toEqual([fence]);
    expect((await world.ledger.lock())?.runId).not.toBe(runId);
  });
});
