import type { FileVerdict, FileVersion, Ledger, NewFile } from '../../functions/ports.ts';
import { collected } from '../support/collected.ts';
import { freed, held } from '../support/locks.ts';

/** What every ledger must do. `open` gives a new, empty one; `many` is how many file versions one run claims. */
export function ledgerContract(name: string, open: () => Promise<Ledger>, { many: size = 10_000 } = {}): void {
  describe(`ledger: ${name}`, () => {
    let ledger: Ledger;
    beforeEach(async () => {
      ledger = await open();
    });

    const moment = () => new Promise((resolve) => setTimeout(resolve, 5));

    describe('file versions', () => {
      test('are registered once, as pending', async () => {
        expect(await ledger.register([file('a'), file('b')])).toBe(2);
        expect(await ledger.register([file('a'), file('c'), file('c')])).toBe(1);
        expect(await all(ledger)).toMatchObject([
          { ...file('a'), state: 'pending', runId: null, attempts: 0, why: null, counts: null },
          { ...file('b'), state: 'pending' },
          { ...file('c'), state: 'pending' },
        ]);
        expect((await all(ledger)).every(({ arrivedAt }) => !Number.isNaN(Date.parse(arrivedAt)))).toBe(true);
      });

      test('stay as they are when they are registered again', async () => {
        const run = await claimed(ledger, [file('a')]);
        await ledger.register([{ ...file('a'), format: 'gzip', unknownFields: ['later'] }]);
        expect(await ledger.claimed(run.runId)).toMatchObject([{ ...file('a'), state: 'claimed' }]);
      });

      test('of one key are different files', async () => {
        await ledger.register([file('a', 'v1'), file('a', 'v2')]);
        expect((await ledger.pending(10)).map(({ version }) => version)).toEqual(['v1', 'v2']);
      });

      test('that are unknown are told from those that are known', async () => {
        await ledger.register([file('a', 'v1')]);
        expect(await ledger.unknown([file('a', 'v1'), file('a', 'v2'), file('b')])).toEqual([file('a', 'v2'), file('b')]);
        expect(await ledger.unknown([])).toEqual([]);
      });

      test('keep keys of any spelling and what is known of them', async () => {
        const odd: NewFile = {
          ...file(`o'dd "nàme" 😀 [x].json`),
          unknownFields: ['Größe', 'a"b'],
          format: 'gzip',
          size: 5_000_000_000,
        };
        await ledger.register([odd]);
        expect(await all(ledger)).toMatchObject([odd]);
        expect(await ledger.unknown([odd])).toEqual([]);
      });

      test('pend in the order of table, key and version, those of customers first, at most as many as asked', async () => {
        const step = { ...file('a'), table: 'step_trainer_landing', key: 'step_trainer_landing/a' } as const;
        const motion = { ...file('z'), table: 'accelerometer_landing', key: 'accelerometer_landing/z' } as const;
        await ledger.register([
          step,
          file('é'),
          file('z'),
          file('b', 'v9'),
          file('b', 'v10'),
          file('B'),
          motion,
          file('～'),
          file('😀'),
        ]);
        const customers = ['B v1', 'b v10', 'b v9', 'z v1', 'é v1', '～ v1', '😀 v1'].map((each) => `customer_landing/${each}`);
        const [motions, steps] = ['accelerometer_landing/z v1', 'step_trainer_landing/a v1'];
        expect((await ledger.pending(100)).map(nameOf)).toEqual([...customers, motions, steps]);
        expect((await all(ledger)).map(nameOf)).toEqual([motions, ...customers, steps]);
        expect((await ledger.pending(8)).map(nameOf)).toEqual([...customers, motions]);
      });

      test('of customers come before readings, however long these have waited: they may hold a withdrawal', async () => {
        const motion = { ...file('z'), table: 'accelerometer_landing', key: 'accelerometer_landing/z' } as const;
        await ledger.register([motion]);
        await moment();
        await ledger.register([file('a')]);
        expect((await ledger.pending(1)).map(nameOf)).toEqual(['customer_landing/a v1']);
      });

      test('that have waited longest come first; what is retried waits anew, what is given back does not', async () => {
        const waiting = async () => (await ledger.pending(10)).map(({ key }) => key.replace('customer_landing/', ''));
        await ledger.register([file('d')]);
        await moment();
        await ledger.register([file('c')]);
        await moment();
        await ledger.register([file('b'), file('a')]);
        expect(await waiting()).toEqual(['d', 'c', 'a', 'b']);
        const run = await claimed(ledger, [file('d'), file('c')]);
        const back = { attempts: 0, counts: null, unknownFields: null, why: null, version: 'v1', state: 'pending' } as const;
        await ledger.settle(
          run.runId,
          [file('d'), file('c')].map(({ key }) => ({ ...back, key })),
        );
        expect((await waiting()).slice(2)).toEqual(['a', 'b']);
        await held(ledger, [file('d')], 'rejects');
        await moment();
        await ledger.retry({ keys: [file('d').key] });
        expect(await waiting()).toEqual(['c', 'a', 'b', 'd']);
      });
    });

    describe('the run lock', () => {
      test('is free at first', async () => {
        expect(await ledger.lock()).toBeNull();
      });

      test('is held by one run; its fence grows with each run', async () => {
        const first = await ledger.takeLock('run-1');
        expect(first).toMatchObject({ runId: 'run-1', publishing: false });
        expect(await ledger.takeLock('run-2')).toBeNull();
        expect(await ledger.lock()).toEqual(first);
        await ledger.freeLock('run-1', first?.fence ?? 0);
        expect(await ledger.lock()).toBeNull();
        expect((await ledger.takeLock('run-2'))?.fence).toBeGreaterThan(first?.fence ?? Infinity);
      });

      test('is confirmed to the run that holds it, with the same fence', async () => {
        const taken = await ledger.takeLock('run-1');
        expect(await ledger.takeLock('run-1')).toEqual(taken);
      });

      test('goes to one of those who ask at the same time', async () => {
        const taken = await Promise.all(Array.from({ length: 10 }, (_, at) => ledger.takeLock(`run-${at}`)));
        const [winner, ...more] = taken.filter((lock) => lock !== null);
        expect(more).toEqual([]);
        expect(await ledger.lock()).toEqual(winner);
      });

      test('is freed for its holder only, under the fence that it holds it by', async () => {
        const lock = await ledger.takeLock('run-1');
        const fence = lock?.fence ?? 0;
        await ledger.freeLock('run-2', fence);
        await ledger.freeLock('run-1', fence - 1);
        expect(await ledger.lock()).toEqual(lock);
        await ledger.freeLock('run-1', fence);
        expect(await ledger.lock()).toBeNull();
        const again = await ledger.takeLock('run-1');
        await ledger.freeLock('run-1', fence);
        expect(await ledger.lock()).toEqual(again);
      });

      test('tells that publishing has begun, until it is freed', async () => {
        const lock = await ledger.takeLock('run-1');
        await ledger.markPublishing('run-1', lock?.fence ?? 0);
        expect(await ledger.lock()).toMatchObject({ runId: 'run-1', publishing: true });
        expect(await ledger.takeLock('run-1')).toMatchObject({ publishing: true });
        await freed(ledger);
        expect(await ledger.takeLock('run-1')).toMatchObject({ publishing: false });
      });

      test('lets only its holder with its fence begin to publish', async () => {
        const lock = await ledger.takeLock('run-1');
        const fence = lock?.fence ?? 0;
        await expect(ledger.markPublishing('run-1', fence + 1)).rejects.toMatchObject({ name: 'LockLostError' });
        await expect(ledger.markPublishing('run-2', fence)).rejects.toMatchObject({ name: 'LockLostError' });
        expect(await ledger.lock()).toMatchObject({ publishing: false });
        await freed(ledger);
        await expect(ledger.markPublishing('run-1', fence)).rejects.toMatchObject({ name: 'LockLostError' });
      });
    });

    describe('a claim', () => {
      test('takes pending file versions for the run that holds the lock', async () => {
        const { runId } = await claimed(ledger, [file('a'), file('b')], [file('c')]);
        expect((await ledger.claimed(runId)).map(nameOf)).toEqual(['customer_landing/a v1', 'customer_landing/b v1']);
        expect(await ledger.claimed(runId)).toMatchObject([
          { state: 'claimed', runId },
          { state: 'claimed', runId },
        ]);
        expect((await ledger.pending(10)).map(nameOf)).toEqual(['customer_landing/c v1']);
      });

      test('needs the lock', async () => {
        await ledger.register([file('a')]);
        await expect(ledger.claim('run-1', 1, [file('a')])).rejects.toMatchObject({ name: 'LockLostError' });
        const lock = await ledger.takeLock('run-1');
        const fence = lock?.fence ?? 0;
        await expect(ledger.claim('run-1', fence - 1, [file('a')])).rejects.toMatchObject({ name: 'LockLostError' });
        await expect(ledger.claim('run-2', fence, [file('a')])).rejects.toMatchObject({ name: 'LockLostError' });
        expect(await ledger.pending(10)).toMatchObject([{ ...file('a'), runId: null }]);
      });

      test('never takes what another run has taken', async () => {
        const first = await claimed(ledger, [file('a')]);
        await freed(ledger);
        const lock = await ledger.takeLock('run-2');
        await ledger.register([file('b')]);
        await expect(ledger.claim('run-2', lock?.fence ?? 0, [file('a')])).rejects.toMatchObject({ name: 'LockLostError' });
        expect((await ledger.claimed(first.runId)).map(nameOf)).toEqual(['customer_landing/a v1']);
        expect(await ledger.claimed('run-2')).toEqual([]);
      });

      test('that is refused takes nothing at all', async () => {
        await claimed(ledger, [file('b')], [file('a'), file('c')]);
        await freed(ledger);
        const lock = await ledger.takeLock('run-2');
        const claim = ledger.claim('run-2', lock?.fence ?? 0, [file('a'), file('b'), file('c')]);
        await expect(claim).rejects.toMatchObject({ name: 'LockLostError' });
        expect(await ledger.claimed('run-2')).toEqual([]);
        expect((await ledger.pending(10)).map(nameOf)).toEqual(['customer_landing/a v1', 'customer_landing/c v1']);
      });

      test('of nothing is fine', async () => {
        const lock = await ledger.takeLock('run-1');
        await ledger.claim('run-1', lock?.fence ?? 0, []);
        expect(await ledger.claimed('run-1')).toEqual([]);
      });

      test('may be of thousands of file versions', async () => {
        const many = Array.from({ length: size }, (_, at) => file(String(at).padStart(5, '0')));
        const { runId } = await claimed(ledger, many);
        expect(await ledger.claimed(runId)).toHaveLength(size);
        expect(await ledger.pending(1)).toEqual([]);
        await ledger.settle(
          runId,
          many.map((each) => verdict(each, { state: 'loaded' })),
        );
        expect(await ledger.claimed(runId)).toEqual([]);
      });
    });

    describe('settling', () => {
      test('moves the claims of the run on', async () => {
        const counts = { landed: 4, staged: 2, duplicate: 1, rejected: 1 };
        const { runId } = await claimed(ledger, [file('a'), file('b'), file('c')]);
        await ledger.settle(runId, [
          verdict(file('a'), { state: 'loaded', counts, unknownFields: ['seen'] }),
          verdict(file('b'), { state: 'held', why: 'too many rejects' }),
          verdict(file('c'), { state: 'pending', attempts: 2 }),
        ]);
        expect(await all(ledger)).toMatchObject([
          { ...file('a'), state: 'loaded', runId, counts, unknownFields: ['seen'], why: null },
          { ...file('b'), state: 'held', runId, why: 'too many rejects', counts: null },
          { ...file('c'), state: 'pending', attempts: 2 },
        ]);
        expect(await ledger.claimed(runId)).toEqual([]);
      });

      test('keeps the unknown fields of a file that was not read', async () => {
        const drifted = { ...file('a'), unknownFields: ['note'] };
        const { runId } = await claimed(ledger, [drifted]);
        await ledger.settle(runId, [verdict(drifted, { state: 'pending' })]);
        expect(await ledger.pending(1)).toMatchObject([{ unknownFields: ['note'] }]);
      });

      test('leaves the claims of other runs, and what is no claim, alone', async () => {
        const { runId } = await claimed(ledger, [file('a')], [file('b')]);
        await ledger.settle('run-2', [verdict(file('a'), { state: 'loaded' })]);
        await ledger.settle(runId, [verdict(file('b'), { state: 'loaded' })]);
        expect(await all(ledger)).toMatchObject([
          { ...file('a'), state: 'claimed', runId },
          { ...file('b'), state: 'pending' },
        ]);
      });

      test('again changes nothing', async () => {
        const { runId } = await claimed(ledger, [file('a')]);
        await ledger.settle(runId, [verdict(file('a'), { state: 'pending', attempts: 1 })]);
        await ledger.settle(runId, [verdict(file('a'), { state: 'pending', attempts: 2 })]);
        expect(await ledger.pending(1)).toMatchObject([{ attempts: 1 }]);
      });
    });

    describe('holding', () => {
      test('keeps pending file versions out of runs, with the reason', async () => {
        await ledger.register([file('a'), file('b')]);
        await held(ledger, [file('a')], 'the file vanished');
        expect((await ledger.pending(10)).map(nameOf)).toEqual(['customer_landing/b v1']);
        expect(await ledger.held()).toMatchObject([{ ...file('a'), why: 'the file vanished' }]);
        expect(await all(ledger)).toMatchObject([{ state: 'held', why: 'the file vanished' }, { state: 'pending' }]);
      });

      test('needs the lock', async () => {
        await ledger.register([file('a')]);
        const unready = [{ file: file('a'), why: 'the file vanished' }];
        const fence = (await ledger.takeLock('run-1'))?.fence ?? 0;
        await expect(ledger.hold('run-2', fence, unready)).rejects.toMatchObject({ name: 'LockLostError' });
        await expect(ledger.hold('run-1', fence - 1, unready)).rejects.toMatchObject({ name: 'LockLostError' });
        expect(await ledger.held()).toEqual([]);
      });

      test('may be of many file versions, some of which are held already', async () => {
        const many = Array.from({ length: 250 }, (_, at) => file(String(at).padStart(3, '0')));
        await ledger.register(many);
        await held(ledger, many.slice(90, 110), 'first');
        await held(ledger, many, 'second');
        expect(await ledger.pending(1)).toEqual([]);
        expect((await ledger.held()).map(({ why }) => why)).toEqual(
          many.map((_, at) => (at >= 90 && at < 110 ? 'first' : 'second')),
        );
      });

      test('does not touch what is claimed or loaded', async () => {
        const { runId, fence } = await claimed(ledger, [file('a')]);
        await ledger.hold(runId, fence, [{ file: file('a'), why: 'too late' }]);
        expect(await ledger.claimed(runId)).toHaveLength(1);
      });
    });

    describe('a retry', () => {
      test('makes held file versions of keys pending again', async () => {
        await ledger.register([file('a', 'v1'), file('a', 'v2'), file('b'), file('c')]);
        await held(ledger, [file('a', 'v1'), file('a', 'v2'), file('b')], 'broken');
        const retried = await ledger.retry({ keys: ['customer_landing/a', 'customer_landing/c', 'customer_landing/none'] });
        expect(retried.map(nameOf).sort()).toEqual(['customer_landing/a v1', 'customer_landing/a v2']);
        expect(retried).toMatchObject([{ table: 'customer_landing' }, { size: 10 }]);
        expect(await all(ledger)).toMatchObject([
          { ...file('a', 'v1'), state: 'pending', why: null, attempts: 0 },
          { ...file('a', 'v2'), state: 'pending', why: null },
          { ...file('b'), state: 'held', why: 'broken' },
          { ...file('c'), state: 'pending' },
        ]);
      });

      test('is when a file version begins to wait anew; its arrival stays', async () => {
        await ledger.register([file('a'), file('b')]);
        const [arrived] = await all(ledger);
        expect(arrived).toMatchObject({ waitsSince: arrived?.arrivedAt });
        await held(ledger, [file('a')], 'broken');
        while (new Date().toISOString() === arrived?.arrivedAt) await new Promise((resolve) => setTimeout(resolve, 1));
        await ledger.retry({ keys: ['customer_landing/a'] });
        const [retried, other] = await all(ledger);
        expect(retried?.arrivedAt).toBe(arrived?.arrivedAt);
        expect(Date.parse(retried?.waitsSince ?? '')).toBeGreaterThan(Date.parse(arrived?.arrivedAt ?? ''));
        expect(other?.waitsSince).toBe(other?.arrivedAt);
        const { runId } = await claimed(ledger, [file('a')]);
        await ledger.settle(runId, [verdict(file('a'), { state: 'pending', attempts: 1 })]);
        expect((await all(ledger))[0]?.waitsSince).toBe(retried?.waitsSince);
      });

      test('makes held file versions of a run pending again', async () => {
        const first = await claimed(ledger, [file('a'), file('b')]);
        await ledger.settle(first.runId, [
          verdict(file('a'), { state: 'held', why: 'gate' }),
          verdict(file('b'), { state: 'loaded' }),
        ]);
        await freed(ledger);
        const second = await claimed(ledger, [file('c')], [], 'run-2');
        await ledger.settle(second.runId, [verdict(file('c'), { state: 'held', why: 'gate' })]);
        expect((await ledger.retry({ runId: first.runId })).map(nameOf)).toEqual(['customer_landing/a v1']);
        expect((await ledger.pending(10)).map(nameOf)).toEqual(['customer_landing/a v1']);
        expect(await ledger.retry({ runId: 'run-none' })).toEqual([]);
      });

      test('of a run takes in what the run could not read', async () => {
        await ledger.register([file('a'), file('b')]);
        await held(ledger, [file('a')], 'archived', 'run-1');
        await held(ledger, [file('b')], 'archived', 'run-2');
        expect((await ledger.retry({ runId: 'run-1' })).map(nameOf)).toEqual(['customer_landing/a v1']);
      });
    });

    test('a retry forgets how often runs have failed', async () => {
      const { runId } = await claimed(ledger, [file('a')]);
      await ledger.settle(runId, [verdict(file('a'), { state: 'held', attempts: 2, why: 'gate' })]);
      await ledger.retry({ keys: ['customer_landing/a'] });
      expect(await ledger.pending(1)).toMatchObject([{ state: 'pending', attempts: 0, why: null }]);
    });

    test('keeps in mind what it is told last', async () => {
      const nothing = { tried: null, listedTo: null, checking: null, checked: null };
      expect(await ledger.memory()).toEqual(nothing);
      const memory = {
        tried: { definition: 'abc', runs: 2 },
        listedTo: 'customer_landing/é 😀',
        checking: '2026-01-02T03:04:05.000Z',
        checked: '2026-01-01T03:04:05.000Z',
      };
      await ledger.remember(memory);
      expect(await ledger.memory()).toEqual(memory);
      await ledger.remember({ ...nothing, listedTo: 'b' });
      expect(await ledger.memory()).toEqual({ ...nothing, listedTo: 'b' });
      await ledger.remember({ ...memory, listedTo: null });
      expect(await ledger.memory()).toEqual({ ...memory, listedTo: null });
      expect(await all(ledger)).toEqual([]);
    });

    test('remembers what was published last', async () => {
      expect(await ledger.published()).toBeNull();
      await ledger.setPublished({ runId: 'run-1', definition: 'abc' });
      await ledger.setPublished({ runId: 'run-2', definition: 'def' });
      expect(await ledger.published()).toEqual({ runId: 'run-2', definition: 'def' });
    });
  });
}

function file(name: string, version = 'v1'): NewFile {
  return { table: 'customer_landing', key: `customer_landing/${name}`, version, size: 10, format: 'json', unknownFields: [] };
}

function nameOf({ key, version }: Pick<FileVersion, 'key' | 'version'>): string {
  return `${key} ${version}`;
}

function verdict({ key, version }: FileVersion, changed: Partial<FileVerdict> & Pick<FileVerdict, 'state'>): FileVerdict {
  return { key, version, attempts: 0, why: null, counts: null, unknownFields: null, ...changed };
}

async function all(ledger: Ledger) {
  return collected(ledger.files());
}

/** Registers file versions and claims the first ones for a run. */
async function claimed(ledger: Ledger, files: readonly NewFile[], others: readonly NewFile[] = [], runId = 'run-1') {
  await ledger.register([...files, ...others]);
  const lock = await ledger.takeLock(runId);
  if (lock === null) throw new Error(`${runId} did not get the lock`);
  await ledger.claim(runId, lock.fence, files);
  return lock;
}
