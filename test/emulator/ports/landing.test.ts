import { GetObjectTaggingCommand } from '@aws-sdk/client-s3';
import { inParallel } from '../../../functions/core/parallel.ts';
import { collected } from '../../support/collected.ts';
import { emulatorOfTests, newLanding } from './benches.ts';

const emulator = emulatorOfTests();

test('listing goes on from version to version: a page may end within the versions of one key', async () => {
  const bench = await newLanding(emulator());
  const keys = ['customer_landing/a b+c&é.json', 'customer_landing/d.json'];
  for (const key of keys) {
    for (let round = 0; round < 30; round += 1) {
      await Promise.all(Array.from({ length: 20 }, (_, at) => bench.put(key, `content ${round} ${at}`)));
    }
  }
  await bench.put('step_trainer_landing/e.json', 'last');
  const pages = await collected(bench.landing.list());
  const versions = pages.flat().map(({ key, version }) => `${key} ${version}`);
  expect(pages.map((page) => page.length)).toEqual([1000, 200, 0, 1]);
  expect(new Set(versions).size).toBe(1201);
});

test('many files can be prepared side by side', async () => {
  const bench = await newLanding(emulator());
  const keys = Array.from({ length: 300 }, (_, at) => `customer_landing/${at}.json`);
  await Promise.all(keys.map((key) => bench.put(key, 'first')));
  const files = (await collected(bench.landing.list())).flat();
  await Promise.all(keys.slice(0, 100).map((key) => bench.put(key, 'second')));
  const prepared = await inParallel(files, (file) => bench.landing.prepare('run-1', file));
  expect(prepared.filter((outcome) => outcome.ready && outcome.input === null)).toHaveLength(200);
  expect(prepared.filter((outcome) => outcome.ready && outcome.input !== null)).toHaveLength(100);
});

test('a copy for a run has the tag by which the bucket lets it expire', async () => {
  const bench = await newLanding(emulator());
  await bench.put('customer_landing/a.json', 'content');
  const [file] = (await collected(bench.landing.list())).flat();
  if (file === undefined) throw new Error('the file is listed');
  const prepared = await bench.landing.prepare('run-1', file, true);
  const Key = prepared.ready && prepared.input !== null ? prepared.input : 'no copy';
  const { TagSet } = await bench.s3.send(new GetObjectTaggingCommand({ Bucket: bench.lakeBucket, Key }));
  expect(TagSet).toEqual([{ Key: 'kept', Value: 'for-a-run' }]);
});
