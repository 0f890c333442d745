import type { FileVersion, Landing } from '../../functions/ports.ts';
import { collected } from '../support/collected.ts';

/** A landing zone under test, and how others put files there. */
export interface LandingBench {
  landing: Landing;
  put(key: string, content: string | Uint8Array): Promise<void>;
  remove(key: string): Promise<void>;
}

const ODD_KEYS = [
  'customer_landing/with blanks.json',
  `customer_landing/o'clock "quoted".json`,
  'customer_landing/[x]*?.json',
  'customer_landing/Größe 100%.json',
  'customer_landing/日本 😀.json',
  'customer_landing/2026/11/day+one&more.json',
];

/** What every landing zone must do. `open` gives a new, empty one. */
export function landingContract(name: string, open: () => Promise<LandingBench>): void {
  describe(`landing: ${name}`, () => {
    let bench: LandingBench;
    beforeEach(async () => {
      bench = await open();
    });

    async function listed(): Promise<FileVersion[]> {
      return (await collected(bench.landing.list())).flat();
    }

    async function only(key: string): Promise<FileVersion> {
      const file = (await listed()).find((candidate) => candidate.key === key);
      if (file === undefined) throw new Error(`${key} is not listed`);
      return file;
    }

    describe('listing', () => {
      test('an empty zone gives nothing', async () => {
        expect(await listed()).toEqual([]);
      });

      test('gives every file version with table, key and size', async () => {
        await bench.put('customer_landing/a.json', 'four');
        await bench.put('step_trainer_landing/2026/b.json', '');
        await bench.put('accelerometer_landing/c.json.gz', 'twelve bytes');
        expect((await listed()).sort((one, other) => (one.key < other.key ? -1 : 1))).toMatchObject([
          { table: 'accelerometer_landing', key: 'accelerometer_landing/c.json.gz', size: 12 },
          { table: 'customer_landing', key: 'customer_landing/a.json', size: 4 },
          { table: 'step_trainer_landing', key: 'step_trainer_landing/2026/b.json', size: 0 },
        ]);
      });

      test('gives the same version for the same upload and another one after an overwrite', async () => {
        await bench.put('customer_landing/a.json', 'first');
        const first = await only('customer_landing/a.json');
        expect(await only('customer_landing/a.json')).toEqual(first);
        await bench.put('customer_landing/a.json', 'other');
        expect((await only('customer_landing/a.json')).version).not.toBe(first.version);
      });

      test.each(ODD_KEYS)('gives the key %s as it is', async (key) => {
        await bench.put(key, 'content');
        expect((await listed()).map((file) => file.key)).toEqual([key]);
      });

      test('leaves alone what is hidden or still being written, and what belongs to no landing table', async () => {
        for (const key of [
          'customer_landing/.hidden.json',
          'customer_landing/a.json.part',
          'customer_landing/b.tmp',
          'customer_landing/.cache/c.json',
          'elsewhere/d.json',
          'customer_landings/e.json',
          'f.json',
        ])
          await bench.put(key, 'content');
        await bench.put('customer_landing/a.partial.json', 'content');
        expect((await listed()).map((file) => file.key)).toEqual(['customer_landing/a.partial.json']);
      });

      test('goes on behind a key, in the order in which it came', async () => {
        for (const key of [
          'customer_landing/b/1',
          'customer_landing/b.json',
          'step_trainer_landing/z',
          'accelerometer_landing/é x',
        ])
          await bench.put(key, 'content');
        const keys = (await listed()).map(({ key }) => key);
        expect(keys).toHaveLength(4);
        for (const [at, key] of keys.entries()) {
          const rest = (await collected(bench.landing.list(key))).flat();
          expect(rest.map((file) => file.key)).toEqual(keys.slice(at + 1));
        }
        expect((await collected(bench.landing.list('customer_landing/ab gone'))).flat()).toHaveLength(4);
      });

      test('comes in pages, each file once', async () => {
        const keys = Array.from({ length: 2_500 }, (_, at) => `customer_landing/${String(at).padStart(4, '0')}.json`);
        await Promise.all(keys.map((key) => bench.put(key, '')));
        const pages = await collected(bench.landing.list());
        expect(pages.length).toBeGreaterThan(1);
        expect(
          pages
            .flat()
            .map(({ key }) => key)
            .sort(),
        ).toEqual(keys);
      });
    });

    describe('preparing', () => {
      test('a file version that stands there is ready to be read where it is', async () => {
        await bench.put('customer_landing/a.json', 'content');
        expect(await bench.landing.prepare('run-1', await only('customer_landing/a.json'))).toEqual({ ready: true, input: null });
      });

      test.each(ODD_KEYS)('%s is ready too', async (key) => {
        await bench.put(key, 'content');
        expect(await bench.landing.prepare('run-1', await only(key))).toMatchObject({ ready: true });
      });
    });

    describe('the first bytes', () => {
      test('are as many as asked, or what there is', async () => {
        await bench.put('customer_landing/a.json', 'content');
        expect(await head('customer_landing/a.json', 4)).toBe('cont');
        expect(await head('customer_landing/a.json', 100)).toBe('content');
        await bench.put('customer_landing/empty.json', '');
        expect(await head('customer_landing/empty.json', 100)).toBe('');
      });

      test('are bytes, not text', async () => {
        await bench.put('customer_landing/a.gz', Uint8Array.of(0x1f, 0x8b, 0x00, 0xff));
        expect([...(await bench.landing.head('customer_landing/a.gz', 3))]).toEqual([0x1f, 0x8b, 0x00]);
      });

      test.each(ODD_KEYS)('are read of %s', async (key) => {
        await bench.put(key, key);
        expect(await head(key, 1000)).toBe(key);
      });

      test('of a file that is not there are an error', async () => {
        await expect(bench.landing.head('customer_landing/none.json', 10)).rejects.toThrow();
      });

      async function head(key: string, bytes: number): Promise<string> {
        return Buffer.from(await bench.landing.head(key, bytes)).toString();
      }
    });
  });
}

/** What a landing zone that keeps only the latest version of a key must do: say why an older one can't be read. */
export function unversionedLandingContract(name: string, open: () => Promise<LandingBench>): void {
  describe(`landing without versions: ${name}`, () => {
    async function landed(bench: LandingBench, key: string, content: string): Promise<FileVersion> {
      await bench.put(key, content);
      const files = (await collected(bench.landing.list())).flat();
      const file = files.find((candidate) => candidate.key === key);
      if (file === undefined) throw new Error(`${key} is not listed`);
      return file;
    }

    test('what vanished is not ready, and what to do is said', async () => {
      const bench = await open();
      const file = await landed(bench, 'customer_landing/a.json', 'content');
      await bench.remove(file.key);
      const outcome = await bench.landing.prepare('run-1', file);
      expect(outcome).toMatchObject({ ready: false });
      expect('why' in outcome ? outcome.why : '').toMatch(/vanished.*retry/);
    });

    test.each([
      ['another length', 'longer content'],
      ['the same length', 'CONTENT'],
    ])('what was overwritten with %s is not ready', async (_, content) => {
      const bench = await open();
      const file = await landed(bench, 'customer_landing/a.json', 'content');
      await bench.put(file.key, content);
      const outcome = await bench.landing.prepare('run-1', file);
      expect('why' in outcome ? outcome.why : '').toMatch(/overwritten/);
    });
  });
}
