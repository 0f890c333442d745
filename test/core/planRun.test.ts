import { noteHeld, readHeld } from '../../functions/core/heldFiles.ts';
import { planRun } from '../../functions/core/planRun.ts';
import { reportRun } from '../../functions/core/reportRun.ts';
import { settleRun } from '../../functions/core/settleRun.ts';
import { plan } from '../../functions/plan.ts';
import type { Landing } from '../../functions/ports.ts';
import { lambdaContext } from '../../local/lambdaContext.ts';
import { settingsWith } from '../support/lakes.ts';
import { freed } from '../support/locks.ts';
import { temporaryWorlds, unwritable } from '../support/world.ts';
import type { World } from '../support/world.ts';

const newWorld = temporaryWorlds();
const SETTINGS = settingsWith();

test.each(["it's", 'fix_1', 'run 1', ''])('an execution named %p makes no run', async (runId) => {
  const world = newWorld();
  await world.register('customer_landing/c.json');
  await expect(plan(world.ports, SETTINGS)({ runId }, lambdaContext('plan'))).rejects.toThrow(/name of letters, digits and/);
  expect(await world.ledger.lock()).toBeNull();
});

describe('planning a run', () => {
  test('claims what is pending and says so in the manifest', async () => {
    const world = newWorld();
    const [motion, customer] = await world.register('accelerometer_landing/m.json', 'customer_landing/c.json');
    expect(await planRun(world.ports, SETTINGS, 'run-1')).toEqual({
      status: 'RUN',
      runId: 'run-1',
      fence: '1',
      files: 2,
    });
    expect(await world.states()).toEqual({ 'accelerometer_landing/m.json': 'claimed', 'customer_landing/c.json': 'claimed' });
    expect(await world.manifest('run-1')).toMatchObject({
      runId: 'run-1',
      fence: 1,
      reason: 'files',
      definition: 'abc',
      definitionChanged: false,
      previous: null,
      policies: { mlJoin: 'person-and-time', consentFrom: 'any-time' },
      files: [
        { ...motion, input: null },
        { ...customer, input: null },
      ],
    });
  });

  test('names files by table, key and version, whichever came first', async () => {
    const world = newWorld();
    for (const key of ['step_trainer_landing/a', 'customer_landing/b', 'customer_landing/B', 'accelerometer_landing/z'])
      await world.register(key);
    await planRun(world.ports, SETTINGS, 'run-1');
    expect((await world.manifest('run-1'))?.files.map(({ key }) => key)).toEqual([
      'accelerometer_landing/z',
      'customer_landing/B',
      'customer_landing/b',
      'step_trainer_landing/a',
    ]);
  });

  test('of nothing ends with nothing to do and leaves nothing', async () => {
    const world = newWorld();
    expect(await planRun(world.ports, SETTINGS, 'run-1')).toEqual({
      status: 'NOTHING_TO_DO',
      runId: 'run-1',
      fence: '0',
      files: 0,
    });
    expect(await world.runFiles.read('run-1', 'manifest.json')).toBeNull();
  });

  test('started by hand takes the lock where it is free', async () => {
    const world = newWorld();
    await world.register('customer_landing/c.json');
    expect(await planRun(world.ports, SETTINGS, 'by-hand')).toMatchObject({ status: 'RUN' });
    expect(await world.ledger.lock()).toMatchObject({ runId: 'by-hand' });
  });

  test('started by hand while another run holds the lock ends with nothing to do', async () => {
    const world = newWorld();
    await world.register('customer_landing/c.json');
    await world.ledger.takeLock('run-1');
    expect(await planRun(world.ports, SETTINGS, 'by-hand')).toMatchObject({
      status: 'NOTHING_TO_DO',
    });
    expect(await world.states()).toEqual({ 'customer_landing/c.json': 'pending' });
    expect(await world.ledger.lock()).toMatchObject({ runId: 'run-1' });
  });

  test('takes at most so many files; the rest stays pending', async () => {
    const world = newWorld();
    await world.register('customer_landing/1', 'customer_landing/2', 'customer_landing/3');
    expect(await planRun(world.ports, settingsWith({ maxFilesPerRun: 2 }), 'run-1')).toMatchObject({ files: 2 });
    expect((await world.ledger.pending(10)).map(({ key }) => key)).toEqual(['customer_landing/3']);
  });

  test('takes files of at most so many gigabytes, but always one; the rest stays pending', async () => {
    const world = newWorld();
    const [first] = await world.register('customer_landing/1', 'customer_landing/2', 'customer_landing/3');
    const size = first?.size ?? 0;
    expect(await planRun(world.ports, settingsWith({ maxGbPerRun: (2 * size) / 1e9 }), 'run-1')).toMatchObject({ files: 2 });
    expect((await world.ledger.pending(10)).map(({ key }) => key)).toEqual(['customer_landing/3']);

    const other = newWorld();
    await other.register('customer_landing/1', 'customer_landing/2');
    expect(await planRun(other.ports, settingsWith({ maxGbPerRun: size / 1e10 }), 'run-1')).toMatchObject({ files: 1 });
  });

  test('names the policies and the run whose tables it replaces', async () => {
    const world = newWorld();
    world.publish('run-0');
    await world.register('customer_landing/c.json');
    await planRun(world.ports, settingsWith({ mlJoin: 'time', consentFrom: 'consent-date' }), 'run-1');
    expect(await world.manifest('run-1')).toMatchObject({
      previous: 'run-0',
      policies: { mlJoin: 'time', consentFrom: 'consent-date' },
    });
  });
});

test('the ledger learns what the lake shows, which has the last word', async () => {
  const world = newWorld();
  world.publish('run-9', 'xyz');
  await world.ledger.setPublished({ runId: 'run-0', definition: 'abc' });
  await planRun(world.ports, SETTINGS, 'run-10');
  expect(await world.ledger.published()).toEqual({ runId: 'run-9', definition: 'xyz' });
  expect(await world.manifest('run-10')).toMatchObject({ previous: 'run-9', definitionChanged: true });
});

test('the run that is replaced is the one that the lake shows, and none where it shows none', async () => {
  const world = newWorld();
  await world.ledger.setPublished({ runId: 'run-0', definition: 'abc' });
  await world.register('customer_landing/c.json');
  await planRun(world.ports, SETTINGS, 'run-1');
  expect(await world.manifest('run-1')).toMatchObject({ previous: null });
});

describe('planning again, as a retry of the step does', () => {
  test('gives the same plan', async () => {
    const world = newWorld();
    await world.register('customer_landing/a', 'customer_landing/b');
    const plan = await planRun(world.ports, SETTINGS, 'run-1');
    const manifest = await world.manifest('run-1');
    expect(await planRun(world.ports, SETTINGS, 'run-1')).toEqual(plan);
    expect((await world.manifest('run-1')).files).toEqual(manifest.files);
  });

  test('never forgets what the first try has claimed, also when more has arrived', async () => {
    const world = newWorld();
    await world.register('customer_landing/a');
    await planRun(world.ports, SETTINGS, 'run-1');
    await world.register('customer_landing/b');
    await planRun(world.ports, SETTINGS, 'run-1');
    const claimed = await world.ledger.claimed('run-1');
    expect((await world.manifest('run-1')).files.map(({ key }) => key)).toEqual(claimed.map(({ key }) => key));
  });

  test('goes on where the first try claimed and wrote no manifest', async () => {
    const world = newWorld();
    const files = await world.register('customer_landing/a');
    const lock = await world.ledger.takeLock('run-1');
    await world.ledger.claim('run-1', lock?.fence ?? 0, files);
    expect(await planRun(world.ports, SETTINGS, 'run-1')).toMatchObject({ status: 'RUN', files: 1 });
    expect((await world.manifest('run-1')).files.map(({ key }) => key)).toEqual(['customer_landing/a']);
  });
});

describe('files that are not what was registered', () => {
  test('are held, and the rest goes on', async () => {
    const world = newWorld();
    await world.register('customer_landing/good', 'customer_landing/over', 'customer_landing/gone');
    world.remove('customer_landing/gone');
    await world.land('customer_landing/over', '{"email":"other@x.org"}\n');
    expect(await planRun(world.ports, SETTINGS, 'run-1')).toMatchObject({ status: 'RUN', files: 1 });
    const files = await world.files();
    expect(files).toMatchObject({
      'customer_landing/good': { state: 'claimed' },
      'customer_landing/gone': { state: 'held' },
      'customer_landing/over': { state: 'held' },
    });
    expect(files['customer_landing/gone']?.why).toMatch(/vanished/);
    expect(files['customer_landing/over']?.why).toMatch(/overwritten/);
    expect((await world.manifest('run-1')).files.map(({ key }) => key)).toEqual(['customer_landing/good']);
  });

  test('are told by the report of the run that goes on', async () => {
    const world = newWorld();
    await world.register('customer_landing/good', 'customer_landing/gone');
    world.remove('customer_landing/gone');
    await planRun(world.ports, SETTINGS, 'run-1');
    const { held } = await reportRun(world.ports, 'run-1', { name: 'Error', cause: 'any' });
    expect(held).toMatchObject([{ file: 'customer_landing/gone', why: expect.stringContaining('vanished') as unknown }]);
  });

  test('but are claimed already, are left out and go back to pending with their run', async () => {
    const world = newWorld();
    await world.register('customer_landing/a', 'customer_landing/b');
    await planRun(world.ports, SETTINGS, 'run-1');
    world.remove('customer_landing/b');
    expect(await planRun(world.ports, SETTINGS, 'run-1')).toMatchObject({ status: 'RUN', files: 1 });
    expect((await world.manifest('run-1')).files.map(({ key }) => key)).toEqual(['customer_landing/a']);
    expect(await world.states()).toMatchObject({ 'customer_landing/b': 'claimed' });
    expect(world.logged).not.toContain('file_held');
    expect(await world.runFiles.read('run-1', 'held.json')).toBeNull();
  });

  test('leave nothing to do where there are no others', async () => {
    const world = newWorld();
    await world.register('customer_landing/gone');
    world.remove('customer_landing/gone');
    expect(await planRun(world.ports, SETTINGS, 'run-1')).toMatchObject({ status: 'NOTHING_TO_DO' });
    expect(await world.states()).toEqual({ 'customer_landing/gone': 'held' });
  });

  test('are not held where that can not be noted: nothing is held in silence', async () => {
    const world = newWorld();
    await world.register('customer_landing/good', 'customer_landing/gone');
    world.remove('customer_landing/gone');
    const ports = { ...world.ports, runFiles: unwritable(world) };
    await expect(planRun(ports, SETTINGS, 'run-1')).rejects.toThrow('no space');
    expect(await world.states()).toEqual({ 'customer_landing/good': 'pending', 'customer_landing/gone': 'pending' });
  });

  test('are noted together, each version of a key on its own', async () => {
    const { runFiles } = newWorld();
    const held = (...versions: string[]) =>
      versions.map((version) => ({ file: 'customer_landing/a', version, why: 'it vanished' }));
    await noteHeld(runFiles, 'run-1', held('v1'));
    await noteHeld(runFiles, 'run-1', held('v1', 'v2'));
    await noteHeld(runFiles, 'run-1', held('v3'));
    expect(await readHeld(runFiles, 'run-1')).toEqual(held('v1', 'v2', 'v3'));
    expect(await readHeld(runFiles, 'run-2')).toEqual([]);
  });
});

describe('files that somebody may overwrite before they are read', () => {
  /** Landing that notes for each file whether it may be overwritten. */
  function noting(world: World, noted: unknown[]): World['ports'] {
    const landing: Landing = {
      prepare: async (runId, file, mayChange) => {
        noted.push(mayChange);
        return world.landing.prepare(runId, file);
      },
      head: world.landing.head.bind(world.landing),
      list: world.landing.list.bind(world.landing),
    };
    return { ...world.ports, landing };
  }

  test('are those of a run that follows one that broke off, and no others', async () => {
    const world = newWorld();
    const noted: unknown[] = [];
    const ports = noting(world, noted);
    await world.register('customer_landing/a', 'customer_landing/b');
    for (const [runId, mayChange] of [
      ['run-1', false],
      ['run-2', true],
    ] as const) {
      await planRun(ports, SETTINGS, runId);
      expect(noted.splice(0)).toEqual([mayChange, mayChange]);
      expect(await settleRun(ports, runId)).toBe('interrupted');
      await freed(world.ledger);
    }
  });
});

describe('files that landing refuses to give out', () => {
  /** Landing that refuses these keys. */
  function refusing(world: World, ...refused: string[]): World['ports'] {
    const landing: Landing = {
      prepare: async (runId, file) =>
        refused.includes(file.key)
          ? { ready: false, refused: true, why: 'S3 refuses it (403)' }
          : world.landing.prepare(runId, file),
      head: world.landing.head.bind(world.landing),
      list: world.landing.list.bind(world.landing),
    };
    return { ...world.ports, landing };
  }

  test('are held where others can be read', async () => {
    const world = newWorld();
    await world.register('customer_landing/a', 'customer_landing/b');
    const ports = refusing(world, 'customer_landing/a');
    expect(await planRun(ports, SETTINGS, 'run-1')).toMatchObject({ status: 'RUN', files: 1 });
    expect(await world.files()).toMatchObject({
      'customer_landing/a': { state: 'held', why: 'S3 refuses it (403)' },
      'customer_landing/b': { state: 'claimed' },
    });
  });

  test('fail the run and stay pending where none can be read: a permission may be missing', async () => {
    const world = newWorld();
    await world.register('customer_landing/a', 'customer_landing/b', 'customer_landing/gone');
    world.remove('customer_landing/gone');
    const ports = refusing(world, 'customer_landing/a', 'customer_landing/b');
    await expect(planRun(ports, SETTINGS, 'run-1')).rejects.toMatchObject({
      name: 'LandingRefusedError',
      message: 'no landing file can be read; the first is customer_landing/a: S3 refuses it (403)',
    });
    expect(await world.states()).toEqual({
      'customer_landing/a': 'pending',
      'customer_landing/b': 'pending',
      'customer_landing/gone': 'held',
    });
  });
});

describe('a changed definition', () => {
  test('is a reason to run without any file', async () => {
    const world = newWorld();
    world.publish('run-0');
    expect(await planRun(world.redefined('def'), SETTINGS, 'run-1')).toMatchObject({
      status: 'RUN',
      files: 0,
    });
    expect(await world.manifest('run-1')).toMatchObject({
      reason: 'definition',
      definitionChanged: true,
      definition: 'def',
      previous: 'run-0',
      files: [],
    });
  });

  test('is told of a run with files, too', async () => {
    const world = newWorld();
    world.publish('run-0');
    await world.register('customer_landing/c.json');
    await planRun(world.redefined('def'), SETTINGS, 'run-1');
    expect(await world.manifest('run-1')).toMatchObject({ reason: 'files', definitionChanged: true });
  });

  test('is none in a lake that never published', async () => {
    const world = newWorld();
    expect(await planRun(world.redefined('def'), SETTINGS, 'run-1')).toMatchObject({ status: 'NOTHING_TO_DO' });
  });
});
