import type { FileVersion } from '../../functions/ports.ts';
import { collected } from '../support/collected.ts';
import type { LandingBench } from './landing.ts';

/** A landing zone that keeps every version of a key. */
export interface VersionedLandingBench extends LandingBench {
  /** Removes one version, as the end of its retention does. */
  removeVersion(key: string, version: string): Promise<void>;
  /** What is found where a run was told to read a file. */
  readInput(input: string): Promise<string>;
}

/** What a landing zone that keeps every version of a key must do: an older one can still be read, from a copy. */
export function versionedLandingContract(name: string, open: () => Promise<VersionedLandingBench>): void {
  describe(`landing with versions: ${name}`, () => {
    let bench: VersionedLandingBench;
    beforeEach(async () => {
      bench = await open();
    });

    async function versionsOf(key: string): Promise<FileVersion[]> {
      return (await collected(bench.landing.list())).flat().filter((file) => file.key === key);
    }

    async function landed(key: string, content: string): Promise<FileVersion> {
      const before = new Set((await versionsOf(key)).map(({ version }) => version));
      await bench.put(key, content);
      const file = (await versionsOf(key)).find(({ version }) => !before.has(version));
      if (file === undefined) throw new Error(`${key} is not listed`);
      return file;
    }

    async function inputOf(runId: string, file: FileVersion): Promise<string> {
      const outcome = await bench.landing.prepare(runId, file);
      if (!outcome.ready || outcome.input === null) throw new Error(`no copy: ${JSON.stringify(outcome)}`);
      return outcome.input;
    }

    test('lists what was overwritten and what was deleted', async () => {
      const [first, second] = [
        await landed('customer_landing/a.json', 'first'),
        await landed('customer_landing/a.json', 'second!'),
      ];
      await bench.remove('customer_landing/a.json');
      const sizes = (await versionsOf('customer_landing/a.json')).map(({ version, size }) => [version, size]);
      expect(sizes.sort()).toEqual([[first.version, 5] as const, [second.version, 7] as const].sort());
    });

    test.each(['customer_landing/a.json', 'customer_landing/Größe 100%+.json', 'customer_landing/日本 😀/b?.json'])(
      'an overwritten version of %s is read from a copy below the run',
      async (key) => {
        const first = await landed(key, 'first');
        const second = await landed(key, 'second');
        const input = await inputOf('run-1', first);
        expect(input.startsWith('runs/run-1/input/')).toBe(true);
        expect(input.endsWith(key.slice(key.lastIndexOf('/')))).toBe(true);
        expect(await bench.readInput(input)).toBe('first');
        expect(await bench.landing.prepare('run-1', second)).toEqual({ ready: true, input: null });
      },
    );

    test('a copy of a file whose key is as long as may be is made under a shorter one', async () => {
      const key = `customer_landing/${'k'.repeat(1000)}`;
      const first = await landed(key, 'first');
      await landed(key, 'second');
      const input = await inputOf('run-1', first);
      expect(Buffer.byteLength(input)).toBeLessThanOrEqual(1024);
      expect(await bench.readInput(input)).toBe('first');
    });

    test('where files may be overwritten before they are read, what stands at its key is copied too, and stays as it was', async () => {
      const file = await landed('customer_landing/a.json', 'first');
      const outcome = await bench.landing.prepare('run-1', file, true);
      const input = 'input' in outcome ? outcome.input : null;
      await landed('customer_landing/a.json', 'second');
      expect(await bench.readInput(input ?? 'no copy')).toBe('first');
    });

    test('what is too large for one copy is read where it stands all the same', async () => {
      const file = await landed('customer_landing/a.json', 'content');
      expect(await bench.landing.prepare('run-1', { ...file, size: 5 * 1024 ** 3 + 1 }, true)).toEqual({
        ready: true,
        input: null,
      });
    });

    test('two overwritten versions of one key have a copy each', async () => {
      const first = await landed('customer_landing/a.json', 'first');
      const second = await landed('customer_landing/a.json', 'second');
      await landed('customer_landing/a.json', 'third');
      const inputs = [await inputOf('run-1', first), await inputOf('run-1', second)];
      expect(await Promise.all(inputs.map((input) => bench.readInput(input)))).toEqual(['first', 'second']);
    });

    test('a deleted file is read from a copy too, and preparing it again changes nothing', async () => {
      const file = await landed('customer_landing/a.json', 'content');
      await bench.remove(file.key);
      const input = await inputOf('run-1', file);
      expect(await inputOf('run-1', file)).toBe(input);
      expect(await bench.readInput(input)).toBe('content');
    });

    test('a version that is gone for good is not ready, and what to do is said', async () => {
      const file = await landed('customer_landing/a.json', 'content');
      await bench.removeVersion(file.key, file.version);
      const outcome = await bench.landing.prepare('run-1', file);
      expect('why' in outcome ? outcome.why : '').toMatch(/deleted.*put the file back/);
      await landed('customer_landing/a.json', 'another');
      expect(await bench.landing.prepare('run-1', file)).toMatchObject({ ready: false });
    });

    test('the first bytes are those of the version that is named', async () => {
      const first = await landed('customer_landing/a.json', 'first');
      const second = await landed('customer_landing/a.json', 'second');
      await bench.remove('customer_landing/a.json');
      const heads = [first, second].map(({ key, version }) => bench.landing.head(key, 3, version));
      expect((await Promise.all(heads)).map((bytes) => Buffer.from(bytes).toString())).toEqual(['fir', 'sec']);
    });
  });
}
