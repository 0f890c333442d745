import { readHeld } from '../../functions/core/heldFiles.ts';
import { settleRun, verdicts } from '../../functions/core/settleRun.ts';
import { validationSchema, writeRunFile } from '../../functions/core/runFiles.ts';
import type { Validation } from '../../functions/core/runFiles.ts';
import type { LedgerFile } from '../../functions/ports.ts';
import { goodEvidence, load, manifestOf } from '../support/evidence.ts';
import { freed } from '../support/locks.ts';
import { temporaryWorlds, unwritable } from '../support/world.ts';

const newWorld = temporaryWorlds();

function claimedFile(key: string, attempts = 0): LedgerFile {
  return {
    table: 'customer_landing',
    key,
    version: 'v1',
    size: 1,
    state: 'claimed',
    runId: 'run-1',
    attempts,
    why: null,
    format: 'json',
    unknownFields: [],
    counts: null,
    arrivedAt: '2026-01-01T00:00:00.000Z',
    waitsSince: '2026-01-01T00:00:00.000Z',
  };
}

function failedGate(...held: { file: string; why: string }[]): Validation {
  return { runId: 'run-1', ok: false, expectations: [], held: held.map((each) => ({ ...each, version: 'v1' })) };
}

describe('what becomes of a claimed file', () => {
  test('of a published run: it is loaded, with its counts and all the fields that nobody knew', () => {
    const evidence = goodEvidence();
    const files = [load('customer_landing/a', { staged: 5, duplicate: 2, rejected: 1, unknownFields: ['note'] })];
    const [customers] = evidence.steps;
    if (customers?.staging !== undefined) customers.staging.files = files;
    expect(verdicts([claimedFile('customer_landing/a', 2)], 'published', evidence.steps, null)).toEqual([
      {
        key: 'customer_landing/a',
        version: 'v1',
        state: 'loaded',
        attempts: 0,
        why: null,
        counts: { landed: 8, staged: 5, duplicate: 2, rejected: 1 },
        unknownFields: ['note'],
      },
    ]);
  });

  test('of a published run that did not read it: it is pending, for its records are in no table', () => {
    expect(verdicts([claimedFile('customer_landing/unread')], 'published', goodEvidence().steps, null)).toMatchObject([
      { key: 'customer_landing/unread', state: 'pending' },
    ]);
  });

  test('of a failed gate: it is held where the gate names it, else pending as if nothing had been tried', () => {
    const claimed = [claimedFile('customer_landing/a', 2), claimedFile('customer_landing/b', 2)];
    const validation = failedGate({ file: 'customer_landing/b', why: '9 of 10 records rejected' });
    expect(verdicts(claimed, 'gate failed', [], validation)).toMatchObject([
      { key: 'customer_landing/a', state: 'pending', attempts: 0, why: null, counts: null },
      { key: 'customer_landing/b', state: 'held', attempts: 0, why: '9 of 10 records rejected', counts: null },
    ]);
  });

  test('of a gate that names another version: it is pending', () => {
    const validation: Validation = { ...failedGate(), held: [{ file: 'customer_landing/a', version: 'v2', why: 'bad' }] };
    expect(verdicts([claimedFile('customer_landing/a')], 'gate failed', [], validation)).toMatchObject([{ state: 'pending' }]);
  });

  test('of interrupted runs: it is pending twice, and held after the third in a row', () => {
    const claimed = [0, 1, 2].map((attempts) => claimedFile(`customer_landing/${attempts}`, attempts));
    const judged = verdicts(claimed, 'interrupted', [], null);
    expect(judged).toMatchObject([
      { state: 'pending', attempts: 1, why: null },
      { state: 'pending', attempts: 2, why: null },
      { state: 'held', attempts: 0 },
    ]);
    expect(judged[2]?.why).toMatch(/3 runs in a row.*retry/);
  });
});

describe('settling a run', () => {
  async function claimedBy(world: ReturnType<typeof newWorld>, runId: string, ...keys: string[]) {
    const files = await world.register(...keys);
    const lock = await world.ledger.takeLock(runId);
    await world.ledger.claim(runId, lock?.fence ?? 0, files);
    return files;
  }

  test('that was published closes the ledger and remembers what was published', async () => {
    const world = newWorld();
    const [file] = await claimedBy(world, 'run-1', 'customer_landing/a');
    const evidence = goodEvidence();
    const [customers] = evidence.steps;
    if (customers?.staging !== undefined)
      customers.staging.files = [load('customer_landing/a', { version: file?.version ?? '', staged: 3 })];
    await world.writeEvidence('run-1', evidence);
    world.publish('run-1');
    expect(await settleRun(world.ports, 'run-1')).toBe('published');
    expect(await world.files()).toMatchObject({ 'customer_landing/a': { state: 'loaded', counts: { landed: 3, staged: 3 } } });
    expect(await world.ledger.published()).toEqual({ runId: 'run-1', definition: 'abc' });
  });

  test('again changes nothing', async () => {
    const world = newWorld();
    await claimedBy(world, 'run-1', 'customer_landing/a');
    expect(await settleRun(world.ports, 'run-1')).toBe('interrupted');
    expect(await settleRun(world.ports, 'run-1')).toBe('nothing to do');
    expect(await world.files()).toMatchObject({ 'customer_landing/a': { state: 'pending', attempts: 1 } });
    expect(await world.ledger.published()).toBeNull();
  });

  test('whose gate failed holds what the gate names', async () => {
    const world = newWorld();
    const [bad] = await claimedBy(world, 'run-1', 'customer_landing/bad', 'customer_landing/good');
    await world.writeEvidence('run-1', { manifest: manifestOf('run-1', []), steps: [], audits: null });
    await world.failGate('run-1', bad === undefined ? [] : [bad], 'rubbish');
    expect(await settleRun(world.ports, 'run-1')).toBe('gate failed');
    expect(await world.files()).toMatchObject({
      'customer_landing/bad': { state: 'held', why: 'rubbish' },
      'customer_landing/good': { state: 'pending', attempts: 0 },
    });
  });

  test('whose gate passed, but that was not published, was interrupted', async () => {
    const world = newWorld();
    await claimedBy(world, 'run-1', 'customer_landing/a');
    const passed: Validation = { ...failedGate(), ok: true };
    await writeRunFile(world.runFiles, 'run-1', 'validation.json', validationSchema, passed);
    expect(await settleRun(world.ports, 'run-1')).toBe('interrupted');
    expect(await world.files()).toMatchObject({ 'customer_landing/a': { state: 'pending', attempts: 1 } });
  });

  test('after a later one was published leaves what is published alone', async () => {
    const world = newWorld();
    world.publish('run-2');
    await world.ledger.setPublished({ runId: 'run-2', definition: 'abc' });
    await claimedBy(world, 'run-1', 'customer_landing/a');
    expect(await settleRun(world.ports, 'run-1')).toBe('interrupted');
    expect(await world.ledger.published()).toEqual({ runId: 'run-2', definition: 'abc' });
  });

  test('that never planned anything finds nothing to do', async () => {
    const world = newWorld();
    await world.register('customer_landing/a');
    expect(await settleRun(world.ports, 'run-1')).toBe('nothing to do');
    expect(await world.states()).toEqual({ 'customer_landing/a': 'pending' });
  });

  test('that was interrupted for the third time holds nothing that can not be noted', async () => {
    const world = newWorld();
    const files = await claimedBy(world, 'run-0', 'customer_landing/a');
    const twice = { state: 'pending', attempts: 2, why: null, counts: null, unknownFields: null } as const;
    await world.ledger.settle(
      'run-0',
      files.map(({ key, version }) => ({ key, version, ...twice })),
    );
    await freed(world.ledger);
    const lock = await world.ledger.takeLock('run-1');
    await world.ledger.claim('run-1', lock?.fence ?? 0, files);
    await expect(settleRun({ ...world.ports, runFiles: unwritable(world) }, 'run-1')).rejects.toThrow('no space');
    expect(await world.states()).toEqual({ 'customer_landing/a': 'claimed' });
    expect(await settleRun(world.ports, 'run-1')).toBe('interrupted');
    expect(await world.states()).toEqual({ 'customer_landing/a': 'held' });
    expect(await readHeld(world.runFiles, 'run-1')).toMatchObject([{ file: 'customer_landing/a' }]);
  });

  test('a claim that was made while it was settled goes back, too', async () => {
    const world = newWorld();
    const files = await world.register('customer_landing/early', 'customer_landing/late');
    const [early, late] = files;
    if (early === undefined || late === undefined) throw new Error('two files were registered');
    await world.ledger.takeLock('run-1');
    await world.ledger.claim('run-1', 1, [early]);
    const settle = world.ledger.settle.bind(world.ledger);
    let first = true;
    world.ledger.settle = async (...args) => {
      if (first) await world.ledger.claim('run-1', 1, [late]);
      first = false;
      await settle(...args);
    };
    expect(await settleRun(world.ports, 'run-1')).toBe('interrupted');
    expect(await world.states()).toEqual({ 'customer_landing/early': 'pending', 'customer_landing/late': 'pending' });
  });
});
