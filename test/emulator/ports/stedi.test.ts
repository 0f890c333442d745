import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { z } from 'zod';
import { temporaryFolders } from '../../support/folders.ts';
import { startStedi, until } from '../../support/lake.ts';
import { freed, held as holdNow } from '../../support/locks.ts';
import type { Ended } from '../../support/lake.ts';
import { emulatorOfTests } from './benches.ts';
import { PlayedStage } from './playedStage.ts';

const emulator = emulatorOfTests();
const newFolder = temporaryFolders();
const played: PlayedStage[] = [];
afterEach(async () => {
  for (const stage of played.splice(0)) await stage.close();
});

async function open(name: string): Promise<PlayedStage> {
  const stage = await PlayedStage.open(emulator(), name);
  played.push(stage);
  return stage;
}

/** `stedi` as typed by somebody who has credentials for this emulator. */
async function stedi(...args: readonly string[]): Promise<Ended> {
  return startStedi(args, { env: { ...process.env, ...emulator().environment } }).ended;
}

async function json<T>(schema: z.ZodType<T>, args: readonly string[], code = 0): Promise<T> {
  const ended = await stedi(...args, '--json');
  expect({ code: ended.code, stderr: ended.code === code ? '' : ended.stderr }).toEqual({ code, stderr: '' });
  return schema.parse(JSON.parse(ended.stdout));
}

/** The files whose loads are in goodEvidence. */
function source(): string {
  const folder = newFolder();
  for (const table of ['customer_landing', 'accelerometer_landing', 'step_trainer_landing']) {
    mkdirSync(path.join(folder, table));
    writeFileSync(path.join(folder, table, 'a'), `{"of":"${table}"}\n`);
  }
  return folder;
}

const runResult = z.object({
  status: z.string(),
  runs: z.array(z.string()),
  tables: z.record(z.string(), z.number()),
  held: z.array(z.object({ file: z.string(), why: z.string() })),
  expectations: z.array(z.object({ name: z.string(), ok: z.boolean() })),
});
const checks = z.object({ ok: z.boolean(), checks: z.array(z.object({ name: z.string(), ok: z.boolean(), found: z.string() })) });

test('a run from the files to what it left', async () => {
  const stage = await open('one');
  stage.play(3);
  const result = await json(runResult, ['run', source(), '--stage', 'one']);
  expect(result).toMatchObject({
    status: 'SUCCEEDED',
    held: [],
    tables: { machine_learning_curated: 1900, customer_landing: 100 },
  });
  expect(result.runs).toHaveLength(1);
  const [runId = ''] = result.runs;

  const runs = await json(z.array(z.looseObject({ runId: z.string() })), ['runs', '--stage', 'one']);
  expect(runs).toEqual([expect.objectContaining({ runId, status: 'SUCCEEDED', files: 3, rows: 1900, error: null })]);

  const shown = await stedi('show', 'last', '--stage', 'one');
  expect(shown.code).toBe(0);
  expect(shown.stdout).toContain('# SUCCEEDED: 3 files loaded');
  expect(await stedi('show', runId, '--stage', 'one')).toEqual(shown);
  expect(shown.stdout).toContain(
    `Console: https://us-east-1.console.aws.amazon.com/states/home?region=us-east-1#/v2/executions/details/arn:aws:states:us-east-1:000000000000:execution:stedi-one-pipeline:${runId}`,
  );
  expect(shown.stdout).toContain(`s3://stedi-one-lake-000000000000-us-east-1/runs/${runId}/`);

  const files = await json(z.array(z.looseObject({ key: z.string() })), ['files', '--stage', 'one', '--state', 'loaded']);
  expect(files.map(({ key }) => key)).toEqual(['accelerometer_landing/a', 'customer_landing/a', 'step_trainer_landing/a']);

  const healthy = await json(checks, ['check', '--stage', 'one']);
  expect(healthy.checks.filter(({ ok }) => !ok)).toEqual([]);
  expect(healthy.checks.map(({ name }) => name)).toContain('audit loaded_once');

  const again = await stedi('run', '--stage', 'one');
  expect(again).toMatchObject({ code: 0, stdout: expect.stringContaining('Nothing new') as string });
  expect(await json(runResult, ['run', '--stage', 'one', '--expect', 'published'], 1)).toMatchObject({
    status: 'NOTHING_TO_DO',
    expectations: expect.arrayContaining([
      expect.objectContaining({ name: 'expected:customer_landing', ok: false }),
    ]) as unknown[],
  });
});

test('a run that meets the lock of an execution that has ended', async () => {
  const stage = await open('seven');
  const { executions, ledger } = stage.ports;
  const ended = 'run-20260101-000000-ended';
  stage.play(0);
  await executions.start(ended);
  await until(
    'the execution is settled',
    async () => (await ledger.lock()) === null && (await executions.status(ended)) === 'SUCCEEDED',
  );
  await ledger.takeLock(ended);
  const going = startStedi(['run', '--stage', 'seven', '--json'], { env: { ...process.env, ...emulator().environment } });
  await wait(5_000); // by now it follows what the lock stands for
  await freed(ledger);
  const { code, stdout } = await going.ended;
  expect(code).toBe(0);
  expect(runResult.parse(JSON.parse(stdout)).status).toBe('NOTHING_TO_DO');
});

test('a run that fails, and its held files', async () => {
  const stage = await open('two');
  stage.fails = 'the job of customer_trusted was stopped';
  stage.play(3);
  const failed = await stedi('run', source(), '--stage', 'two');
  expect(failed.code).toBe(1);
  expect(failed.stdout).toMatch(/FAILED: nothing was published/);
  expect(failed.stdout).toMatch(/GateFailedError: the job of customer_trusted was stopped/);
  const sick = await json(checks, ['check', '--stage', 'two']);
  expect(sick.checks).toContainEqual({ name: 'files', ok: true, found: '0 loaded, 3 pending, 0 held' });

  await stage.close();
  const [file] = await stage.ports.ledger.pending(1);
  if (file === undefined) throw new Error('a file is pending');
  await holdNow(stage.ports.ledger, [file], 'odd');
  const held = await stedi('files', '--stage', 'two', '--state', 'held');
  expect(held.stdout).toMatch(/accelerometer_landing\/a .*odd/);
  expect(await stedi('retry', 'customer_landing/a', '--stage', 'two')).toMatchObject({ code: 2 });
  expect((await stedi('retry', file.key, '--stage', 'two')).stdout).toMatch(/accelerometer_landing\/a is pending again/);
});

test('drop leaves a name that is taken alone', async () => {
  const stage = await open('three');
  const [folder, other] = [newFolder(), newFolder()];
  writeFileSync(path.join(folder, 'new 日.json'), 'first\n');
  writeFileSync(path.join(other, 'new 日.json'), 'other\n');
  const rows = z.array(z.object({ key: z.string(), added: z.boolean() }));
  const drop = (from: string) => json(rows, ['drop', 'customer_landing', path.join(from, 'new 日.json'), '--stage', 'three']);
  expect(await drop(folder)).toEqual([{ key: 'customer_landing/new 日.json', added: true }]);
  expect(await drop(folder)).toEqual([{ key: 'customer_landing/new 日.json', added: false }]);
  expect(await drop(other)).toEqual([{ key: 'customer_landing/new 日-2.json', added: true }]);
  expect(Buffer.from(await stage.ports.landing.head('customer_landing/new 日.json', 100)).toString()).toBe('first\n');
  expect(Buffer.from(await stage.ports.landing.head('customer_landing/new 日-2.json', 100)).toString()).toBe('other\n');
  expect(await stedi('drop', 'customer_trusted', path.join(folder, 'new 日.json'), '--stage', 'three')).toMatchObject({
    code: 2,
  });
});

test('rejects of all runs, of each file version those of the latest, and exported', async () => {
  const stage = await open('four');
  const record = (run_id: string, file: string, line: number, text: string) => ({
    landing_table: 'customer_landing',
    file: `customer_landing/${file}`,
    version: 'v1',
    line,
    position: 1,
    reason: 'not_json',
    field: null,
    encoding: 'utf-8',
    record: text,
    run_id,
  });
  const leave = (run: string, ...records: readonly ReturnType<typeof record>[]) =>
    stage.s3.send(
      new PutObjectCommand({
        Bucket: stage.lakeBucket,
        Key: `runs/${run}/rejects/customer_landing.ndjson.gz`,
        Body: gzipSync(records.map((each) => `${JSON.stringify(each)}\n`).join('')),
      }),
    );
  await leave('run-1', record('run-1', 'a.json', 1, 'odd'), record('run-1', 'a.json', 2, 'a rule took this'));
  await leave('run-2', record('run-2', 'a.json', 1, 'odd'), record('run-2', 'b.json', 3, 'with\u2028mark'));
  await stage.ports.runFiles.write('run-3', 'manifest.json', '{}');
  const list = await json(z.array(z.looseObject({ line: z.number(), run_id: z.string() })), ['rejects', '--stage', 'four']);
  expect(list.map(({ line, run_id }) => `${line} ${run_id}`).sort()).toEqual(['1 run-2', '3 run-2']);
  const to = newFolder();
  expect(await stedi('rejects', '--stage', 'four', '--export', to)).toMatchObject({ code: 0 });
  expect(readFileSync(path.join(to, 'customer_landing/a.json'), 'utf8')).toBe('odd\n');
  expect(readFileSync(path.join(to, 'customer_landing/b.json'), 'utf8')).toBe('with\u2028mark\n');
  expect((await stedi('rejects', '--stage', 'four', '--run', 'run-9')).stderr).toMatch(/run-9 matches no run/);
});

test('query asks Athena in the stage’s workgroup', async () => {
  await open('five');
  // The emulator does not read tables here; it answers with the constants of a query.
  const query = (sql: string) => json(z.array(z.looseObject({})), ['query', sql, '--stage', 'five']);
  expect(await query("select 7 as devices, 'ann' as name")).toEqual([{ devices: 7, name: 'ann' }]);
  expect(await query('select 7 as devices, 8 as devices')).toEqual([{ devices: 7, 'devices:1': 8 }]);
  expect((await stedi('query', '/* how many */ select 7 as devices', '--stage', 'five')).code).toBe(0);
  for (const sql of ['drop table loads', '/* */ insert into loads select 1', 'explain analyze insert into loads select 1'])
    expect(await stedi('query', sql, '--stage', 'five')).toMatchObject({ code: 2, stdout: '' });
});

test('what is wrong is said without a stack', async () => {
  await open('six');
  const cases: [args: string[], env: NodeJS.ProcessEnv, code: number, said: RegExp][] = [
    [['files', '--stage', 'none'], {}, 1, /There is no stage none in us-east-1 .*npx serverless deploy --stage none/],
    [['files', '--stage', 'six', '--region', 'eu-west-1'], {}, 1, /There is no stage six in eu-west-1/],
    [['files', '--stage', 'six'], { AWS_ENDPOINT_URL: 'http://127.0.0.1:9' }, 1, /AWS can't be reached in the region us-east-1/],
    [['files', '--stage', 'six', '--lake', 'x'], {}, 2, /--lake is a lake on this machine, --stage one on AWS/],
    [['files', '--region', 'eu-west-1'], {}, 2, /--region is the region of a stage: add --stage/],
    [['query', 'select 1', '--stage', 'six', '--out', 'a.csv'], {}, 2, /Athena already keeps each answer as CSV/],
    [['watch', '--stage', 'six'], {}, 2, /works on one machine only/],
    [['run', '--stage', 'six', '--set', 'mlJoin=time'], {}, 2, /settings it was deployed with/],
    [['show', 'run-x', '--stage', 'six'], {}, 2, /run-x matches no run/],
  ];
  for (const [args, env, code, said] of cases) {
    const ended = await startStedi(args, { env: { ...process.env, ...emulator().environment, ...env } }).ended;
    expect(ended).toMatchObject({ code, stdout: '' });
    expect(ended.stderr).toMatch(said);
    expect(ended.stderr).not.toMatch(/^ {2,}at /m);
  }
  const noCredentials = {
    AWS_ACCESS_KEY_ID: '',
    AWS_SECRET_ACCESS_KEY: '',
    AWS_EC2_METADATA_DISABLED: 'true',
    HOME: newFolder(),
  };
  const ended = await startStedi(['files', '--stage', 'six'], { env: { ...process.env, ...noCredentials } }).ended;
  expect(ended.stderr).toMatch(/No AWS credentials.*AWS_PROFILE/);
});
