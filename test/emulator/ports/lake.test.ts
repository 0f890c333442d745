import { CreateTableCommand, GlueClient, UpdateTableCommand } from '@aws-sdk/client-glue';
import { DeleteObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3';
import { VisibleLake } from '../../../functions/aws/lake.ts';
import { BucketRunFiles } from '../../../functions/aws/runFiles.ts';
import { manifestSchema, writeRunFile } from '../../../functions/core/runFiles.ts';
import { PUBLISHED_TABLES } from '../../../functions/core/steps.ts';
import type { PublishedTable } from '../../../functions/core/steps.ts';
import { emulatorOfTests, newBucket, newDatabase, newS3Client } from './benches.ts';

const emulator = emulatorOfTests();

interface Snapshot {
  /** As digits: Iceberg's ids are longer than JavaScript's numbers. */
  id: string;
  parent?: string;
  summary: Record<string, string>;
}

async function open() {
  const [glue, s3] = [new GlueClient(emulator().client), newS3Client(emulator())];
  const [database, bucket] = [await newDatabase(glue), await newBucket(s3, 'lake')];
  const runFiles = new BucketRunFiles(s3, bucket);
  let written = 0;
  /** Creates a table whose metadata hold these snapshots, with `main` at the last of them unless told otherwise. */
  const put = async (
    table: PublishedTable,
    snapshots: readonly Snapshot[],
    main: string | null = snapshots.at(-1)?.id ?? null,
  ) => {
    const Key = `warehouse/${database}.db/${table}/metadata/${(written += 1)}.metadata.json`;
    const parts = snapshots.map(
      ({ id, parent, summary }) =>
        `{"snapshot-id": ${id}, ${parent === undefined ? '' : `"parent-snapshot-id": ${parent},`} "summary": ${JSON.stringify(summary)}}`,
    );
    const refs =
      main === null ? '"run_x": {"snapshot-id": 1, "type": "branch"}' : `"main": {"snapshot-id": ${main}, "type": "branch"}`;
    const Body = `{"format-version": 2, "refs": {${refs}}, "snapshots": [${parts.join(',')}]}`;
    await s3.send(new PutObjectCommand({ Bucket: bucket, Key, Body }));
    const TableInput = { Name: table, Parameters: { table_type: 'ICEBERG', metadata_location: `s3://${bucket}/${Key}` } };
    const request = { DatabaseName: database, TableInput };
    await glue.send(written > PUBLISHED_TABLES.length ? new UpdateTableCommand(request) : new CreateTableCommand(request));
  };
  const planned = async (runId: string, definition: string) =>
    writeRunFile(runFiles, runId, 'manifest.json', manifestSchema, {
      runId,
      fence: 1,
      plannedAt: '2026-01-01T00:00:00Z',
      reason: 'files',
      definition,
      definitionChanged: false,
      previous: null,
      policies: { mlJoin: 'person-and-time', consentFrom: 'any-time' },
      files: [],
    });
  const lose = async () => {
    const { Contents = [] } = await s3.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: 'warehouse/' }));
    for (const { Key } of Contents) await s3.send(new DeleteObjectCommand({ Bucket: bucket, Key }));
  };
  return { lake: new VisibleLake(glue, s3, database, runFiles), put, planned, lose };
}

const LAST = 'machine_learning_curated';
const total = (records: number, more: Record<string, string> = {}) => ({ 'total-records': String(records), ...more });

test('a lake without tables shows no run and no rows', async () => {
  const { lake } = await open();
  expect(await lake.publishedRun()).toBeNull();
  expect(Object.values(await lake.counts())).toEqual(PUBLISHED_TABLES.map(() => 0));
});

test('a lake whose tables have branches of runs only shows no run', async () => {
  const { lake, put } = await open();
  await put(LAST, [{ id: '1', summary: total(5, { 'run-id': 'run-1' }) }], null);
  expect(await lake.publishedRun()).toBeNull();
  expect((await lake.counts())[LAST]).toBe(0);
});

test('what main holds is what is shown, not the newest snapshot', async () => {
  const { lake, put, planned } = await open();
  await planned('run-1', 'abc');
  const [one, other] = ['7341968710930284721', '7341968710930294721'];
  for (const table of PUBLISHED_TABLES) {
    await put(
      table,
      [
        { id: one, summary: total(40_981, { 'run-id': 'run-1' }) },
        { id: other, parent: one, summary: total(50_000, { 'run-id': 'run-2' }) },
      ],
      one,
    );
  }
  expect(await lake.publishedRun()).toEqual({ runId: 'run-1', definition: 'abc' });
  expect(await lake.counts()).toEqual(Object.fromEntries(PUBLISHED_TABLES.map((table) => [table, 40_981])));
});

test('a person’s compaction does not hide the run; rows that somebody else wrote do', async () => {
  const { lake, put, planned } = await open();
  await planned('run-1', 'abc');
  const published = { id: '1', summary: total(5, { 'run-id': 'run-1', operation: 'overwrite' }) };
  const compacted = { id: '2', parent: '1', summary: total(5, { operation: 'replace' }) };
  for (const table of PUBLISHED_TABLES) await put(table, [published, compacted]);
  expect(await lake.publishedRun()).toMatchObject({ runId: 'run-1' });
  await put(LAST, [published, compacted, { id: '3', parent: '2', summary: total(6, { operation: 'append' }) }]);
  expect(await lake.publishedRun()).toBeNull();
});

test('a run whose manifest is gone was built from something unknown', async () => {
  const { lake, put } = await open();
  await put(LAST, [{ id: '1', summary: total(5, { 'run-id': 'run-1' }) }]);
  expect(await lake.publishedRun()).toEqual({ runId: 'run-1', definition: 'unknown' });
});

test('a snapshot that tells no total, and metadata that are gone, are errors that say so', async () => {
  const { lake, put, lose } = await open();
  await put('customer_staging', [{ id: '1', summary: {} }]);
  await expect(lake.counts()).rejects.toThrow(/customer_staging: its snapshot has no total-records/);
  await put(LAST, [{ id: '1', summary: total(5, { 'run-id': 'run-1' }) }]);
  await lose();
  await expect(lake.publishedRun()).rejects.toThrow(/machine_learning_curated: its metadata s3:.* are missing/);
});
