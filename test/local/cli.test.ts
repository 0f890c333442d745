import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { DuckDBInstance } from '@duckdb/node-api';
import { z } from 'zod';
import { landingContractOf } from '../../functions/core/contracts.ts';
import { BAD_MOTION, fileRow, PEOPLE, runRow, sourceFolder, valueOf } from '../support/commandLine.ts';
import { temporaryFolders } from '../support/folders.ts';
import { landAll, runResultSchema, startStedi, stedi } from '../support/lake.ts';
import { customer, lines, walk } from '../support/people.ts';

const newFolder = temporaryFolders();

const rejectRow = z.strictObject({
  landing_table: z.string(),
  file: z.string(),
  version: z.string(),
  line: z.int(),
  position: z.int(),
  reason: z.string(),
  field: z.string().nullable(),
  encoding: z.enum(['utf-8', 'base64']),
  record: z.string(),
  run_id: z.string(),
});

describe('one lake, command by command, with --json', () => {
  const lake = newFolder();
  const json = (...args: string[]) => stedi(...args, '--lake', lake, '--json');
  let runId = '';

  test('run SOURCE puts the files into landing and runs', async () => {
    const result = valueOf(await json('run', sourceFolder(newFolder())), runResultSchema);
    expect(result).toMatchObject({
      status: 'SUCCEEDED',
      tables: {
        customer_landing: 2,
        accelerometer_landing: 3,
        step_trainer_landing: 2,
        rejected: 1,
        machine_learning_curated: 1,
      },
      identity: { sameTime: 1, samePerson: 1, otherPerson: 0 },
      withheld: { accelerometer: { no_consent: 1 }, step_trainer: { no_consent: 1 } },
      loaded: { landed: 7, staged: 6, duplicate: 0, rejected: 1 },
      held: [],
    });
    [runId = ''] = result.runs;
    expect(result.expectations.length).toBeGreaterThan(20);
  });

  test('run again has nothing to do', async () => {
    const result = valueOf(await json('run'), runResultSchema);
    expect(result).toMatchObject({ status: 'NOTHING_TO_DO', runs: [], tables: { machine_learning_curated: 1 } });
  });

  test('runs and show', async () => {
    expect(valueOf(await json('runs'), z.array(runRow))).toMatchObject([{ runId, status: 'SUCCEEDED', files: 3, rows: 1 }]);
    const shown = valueOf(
      await json('show', 'last'),
      z.looseObject({ runId: z.string(), manifest: z.unknown(), steps: z.array(z.unknown()) }),
    );
    expect({ runId: shown.runId, steps: shown.steps.length }).toEqual({ runId, steps: 5 });
  });

  test('files', async () => {
    const files = valueOf(await json('files'), z.array(fileRow));
    expect(files).toHaveLength(3);
    expect(files[0]).toMatchObject({ state: 'loaded', runId, counts: { landed: 3, staged: 2, duplicate: 0, rejected: 1 } });
    expect(valueOf(await json('files', '--state', 'held'), z.array(fileRow))).toEqual([]);
  });

  test('query reads every table, and only reads', async () => {
    const sql =
      'select email, (select count(*) from loads) as loads, (select count(*) from customer_landing) as landed from customer_trusted';
    expect(valueOf(await json('query', sql), z.unknown())).toEqual([{ email: 'ann@x.org', loads: 3, landed: 2 }]);
    const written = await json('query', 'delete from customer_trusted');
    expect(written.stderr).toMatch(/query only reads/);
    expect(written.code).not.toBe(0);
    const copied = await json('query', `copy customer_trusted to '${path.join(lake, 'stolen.csv')}'`);
    expect(copied.code).not.toBe(0);
    expect(existsSync(path.join(lake, 'stolen.csv'))).toBe(false);
  });

  test('query takes SQL that begins with a comment', async () => {
    expect(valueOf(await json('query', '-- Grain: one row.\nselect 1 as one'), z.unknown())).toEqual([{ one: 1 }]);
  });

  test('query never writes the landing files that it reads', async () => {
    const landed = path.join(lake, 'landing', 'accelerometer_landing', 'walk.json');
    const before = readFileSync(landed, 'utf8');
    for (const how of ['', 'explain analyze ', 'EXPLAIN /* a */ (ANALYZE, format json) ']) {
      const { code, stderr } = await json('query', `${how}copy (select 1 as a) to '${landed}' (use_tmp_file false)`);
      expect([code, stderr]).toEqual([2, expect.stringContaining('query only reads') as unknown]);
    }
    expect(readFileSync(landed, 'utf8')).toBe(before);
  });

  test.each(['parquet', 'csv'])('query writes a %s file, whole or not at all', async (format) => {
    const file = path.join(newFolder(), `people.${format}`);
    writeFileSync(file, 'of an earlier query');
    const failed = await json('query', "select error('on the way') from customer_trusted", '--out', file);
    expect([failed.code, failed.stderr]).toEqual([2, expect.stringContaining('on the way') as unknown]);
    expect(readFileSync(file, 'utf8')).toBe('of an earlier query');
    const written = await json('query', 'select email from customer_trusted; -- whoever', '--out', file);
    expect(valueOf(written, z.unknown())).toEqual({ file, rows: 1, run: runId });
    const read = await (await (await DuckDBInstance.create()).connect()).runAndReadAll(`from '${file}'`);
    expect(read.getRowObjectsJson()).toEqual([{ email: 'ann@x.org' }]);
  });

  test('query knows the columns of a landing table by the names of the contract, whatever records call them', async () => {
    const [row] = valueOf(await json('query', 'from customer_landing limit 1'), z.array(z.record(z.string(), z.unknown())));
    expect(Object.keys(row ?? {})).toEqual(landingContractOf('customer_landing').columns.map(({ name }) => name));
  });

  test.each(['UTC', 'America/New_York', 'Asia/Tokyo'])('query tells times in UTC on a machine of the zone %s', async (zone) => {
    const sql = 'select hour(t) as hour, t from (select to_timestamp(1655562417) as t)';
    const asked = startStedi(['query', sql, '--lake', lake, '--json'], { env: { ...process.env, TZ: zone } });
    expect(valueOf(await asked.ended, z.unknown())).toEqual([{ hour: 14, t: '2022-06-18 14:26:57+00' }]);
  });

  test('query explain shows the plan as it is drawn', async () => {
    expect((await stedi('query', 'explain select 1', '--lake', lake)).stdout).toMatch(/^┌─+┐\n│ +PROJECTION/);
  });

  test.each([
    ['people.json', /ends in \.parquet or \.csv/],
    [path.join('nowhere', 'people.csv'), /nowhere is not a folder/],
    [path.join('LAKE', 'landing', 'customer_landing', 'people.csv'), /within the lake/],
    [path.join('LAKE', 'people.csv'), /within the lake/],
    [path.join('FOLDER', 'folder.csv'), /not a file; choose another name/],
  ])('query --out %s is refused', async (file, reason) => {
    const folder = newFolder();
    mkdirSync(path.join(folder, 'folder.csv'));
    const named = file.replace('LAKE', lake).replace('FOLDER', folder);
    const { code, stderr } = await json('query', 'from customer_trusted', '--out', named);
    expect([code, stderr]).toEqual([2, expect.stringMatching(reason) as unknown]);
  });

  test('query --out follows a link, and writes no other file', async () => {
    const folder = newFolder();
    for (const name of ['there.csv', 'rows.csv.part']) writeFileSync(path.join(folder, name), 'mine');
    symlinkSync('there.csv', path.join(folder, 'rows.csv'));
    const out = path.join(folder, 'rows.csv');
    const all = await Promise.all([1, 2].map((rows) => json('query', `from range(${rows})`, '--out', out)));
    expect(all).toMatchObject([{ code: 0 }, { code: 0 }]);
    expect(readFileSync(path.join(folder, 'there.csv'), 'utf8')).toMatch(/^range\n0\n/);
    expect(readFileSync(path.join(folder, 'rows.csv.part'), 'utf8')).toBe('mine');
    expect(readdirSync(folder).sort()).toEqual(['rows.csv', 'rows.csv.part', 'there.csv']);
  });

  test('query --out keeps from others what was kept from them, and clears what a killed query has left of this file', async () => {
    const folder = newFolder();
    const [out, alive] = [path.join(folder, 'rows.csv'), `.rows.csv.${process.ppid}.part`];
    writeFileSync(out, 'mine', { mode: 0o600 });
    for (const name of ['.rows.csv.99999999.part', '.others.csv.99999999.part', alive])
      writeFileSync(path.join(folder, name), '');
    expect(await json('query', 'select 1', '--out', out)).toMatchObject({ code: 0 });
    expect(statSync(out).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder).sort()).toEqual(['.others.csv.99999999.part', alive, 'rows.csv']);
  });

  test('query --out takes a SELECT', async () => {
    const out = path.join(newFolder(), 'rows.csv');
    for (const sql of ['describe customer_trusted', 'show tables', 'explain select 1'])
      expect((await json('query', sql, '--out', out)).stderr).toMatch(/--out writes only the rows of a SELECT/);
  });

  test('query shows so many rows, and any number in a file', async () => {
    const { code, stderr } = await json('query', 'from range(100_001)');
    expect([code, stderr]).toEqual([2, expect.stringContaining('shows 100,000 rows at most') as unknown]);
    expect(valueOf(await json('query', 'from range(100_000)'), z.array(z.unknown()))).toHaveLength(100_000);
    const file = path.join(newFolder(), 'range.parquet');
    expect(valueOf(await json('query', 'from range(300_000)', '--out', file), z.unknown())).toEqual({
      file,
      rows: 300_000,
      run: runId,
    });
  });

  test.each([
    'explain select 1',
    '/* how */ explain analyze from customer_trusted',
    'describe customer_trusted',
    'show tables',
    'summarize loads',
    'values (1)',
    'with a as (select 1) from a',
  ])('query answers %j', async (sql) => {
    expect(await json('query', sql)).toMatchObject({ code: 0 });
  });

  test('rejects, and their way back: export, mend, drop again', async () => {
    const [rejected] = valueOf(await json('rejects'), z.array(rejectRow));
    expect(rejected).toMatchObject({
      file: 'accelerometer_landing/walk.json',
      line: 3,
      reason: 'not_a_number',
      field: 'x',
      record: BAD_MOTION,
    });
    const exported = path.join(newFolder(), 'mended');
    valueOf(await json('rejects', '--export', exported), z.array(rejectRow));
    const file = path.join(exported, 'accelerometer_landing', 'walk.json');
    expect(readFileSync(file, 'utf8')).toBe(`${BAD_MOTION}\n`);
    expect([exported, path.dirname(file), file].map((each) => statSync(each).mode & 0o777)).toEqual([0o700, 0o700, 0o600]);

    writeFileSync(file, readFileSync(file, 'utf8').replace('"left"', '2'));
    const dropped = valueOf(
      await json('drop', 'accelerometer_landing', file),
      z.array(z.strictObject({ key: z.string(), added: z.boolean() })),
    );
    expect(dropped).toEqual([{ key: 'accelerometer_landing/walk-2.json', added: true }]);
    const { tables } = valueOf(await json('run'), runResultSchema);
    expect(tables).toMatchObject({ accelerometer_landing: 4, accelerometer_staging: 3, rejected: 1, accelerometer_trusted: 2 });
  });

  test('rejects whose text was not kept are not exported, and named', async () => {
    const own = newFolder();
    const packed = gzipSync(lines(customer({ email: 'cut@x.org' })));
    landAll(own, walk(PEOPLE));
    writeFileSync(path.join(own, 'landing', 'customer_landing', 'cut.json.gz'), packed.subarray(0, packed.length - 9));
    await stedi('run', '--lake', own);
    const exported = path.join(newFolder(), 'mended');
    const { stdout } = await stedi('rejects', '--lake', own, '--export', exported);
    expect(stdout).toMatch(/Not exported, because their text was not kept[^\n]*:\n {2}customer_landing\/cut\.json\.gz, line 1/);
    expect(existsSync(exported)).toBe(false);
  });

  test('rejects and retry take last and how a name begins, as show does', async () => {
    const [first] = valueOf(await json('rejects', '--run', runId.slice(0, -3)), z.array(rejectRow));
    expect(first).toMatchObject({ run_id: runId });
    expect(valueOf(await json('rejects', '--run', 'last'), z.array(rejectRow))).toEqual([]);
    expect((await json('retry', '--run', 'last')).stderr).toMatch(/no file of run-\S+ is held/);
  });

  test('a taken name with other content gets a suffix; with the same content nothing is added', async () => {
    const file = path.join(newFolder(), 'people.json');
    const key = 'customer_landing/people-2.json';
    writeFileSync(file, lines(customer({ email: 'cem@x.org' })));
    const dropped = z.array(z.strictObject({ key: z.string(), added: z.boolean() }));
    expect(valueOf(await json('drop', 'customer_landing', file), dropped)).toEqual([{ key, added: true }]);
    expect(valueOf(await json('drop', 'customer_landing', file), dropped)).toEqual([{ key, added: false }]);
  });

  test('a taken name with other content gets a suffix although both are of one size', async () => {
    const [own, folder] = [newFolder(), newFolder()];
    const drop = async (email: string) => {
      const file = path.join(folder, 'people.json');
      writeFileSync(file, lines(customer({ email })));
      const dropped = await stedi('drop', 'customer_landing', file, '--lake', own, '--json');
      return valueOf(dropped, z.array(z.strictObject({ key: z.string(), added: z.boolean() })));
    };
    const [first, second] = ['customer_landing/people.json', 'customer_landing/people-2.json'];
    expect(await drop('ann@x.org')).toEqual([{ key: first, added: true }]);
    expect(await drop('ben@x.org')).toEqual([{ key: second, added: true }]);
    expect(await drop('ann@x.org')).toEqual([{ key: first, added: false }]);
  });

  test('a failing expectation: exit code 1, files held, retry', async () => {
    const failed = valueOf(await json('run', '--set', 'expectedCounts={"customer_staging":2}'), runResultSchema, 1);
    expect(failed).toMatchObject({
      status: 'FAILED',
      held: [{ file: 'customer_landing/people-2.json' }],
      tables: { customer_staging: 2 },
    });
    const retried = valueOf(await json('retry', '--run', failed.runs[0] ?? ''), z.unknown());
    const { key, version } = { key: 'customer_landing/people-2.json', version: expect.stringMatching(/^\d+-\d+$/) as unknown };
    expect(retried).toEqual({
      pending: [{ table: 'customer_landing', key, version, size: expect.any(Number) as unknown }],
      forgotten: [],
    });
    // One wrong name, and nothing is given back.
    valueOf(await json('run', '--set', 'expectedCounts={"customer_staging":2}'), runResultSchema, 1);
    expect((await json('retry', key, 'customer_landing/none.json')).code).toBe(2);
    const held = await json('files', '--state', 'held');
    expect(valueOf(held, z.unknown())).toMatchObject([{ key, version, state: 'held' }]);
    expect((await json('retry', key)).code).toBe(0);
    expect(valueOf(await json('run'), runResultSchema)).toMatchObject({ status: 'SUCCEEDED', tables: { customer_staging: 3 } });
  });

  test('rebuild gives the same tables, and replaces them when asked', async () => {
    const reasoned = z.strictObject({ file: z.string(), why: z.string() });
    const rebuilt = z.strictObject({
      replaced: z.boolean(),
      differs: z.boolean(),
      held: z.array(reasoned),
      noLongerHeld: z.array(reasoned),
      unread: z.array(reasoned),
      gone: z.array(z.string()),
      returning: z.int(),
      tables: z.array(z.strictObject({ table: z.string(), rows: z.int(), rebuilt: z.int(), gone: z.int(), new: z.int() })),
    });
    expect(valueOf(await json('rebuild'), rebuilt)).toMatchObject({ replaced: false, differs: false });
    // A file loaded under a milder limit would be missing, so the tables stay.
    const strict = await json('rebuild', '--replace', '--set', 'minRecordsForRatio=1', '--set', 'maxRejectRatio=0');
    expect(valueOf(strict, rebuilt, 1)).toMatchObject({
      replaced: false,
      differs: true,
      held: [{ file: expect.stringContaining('walk.json') as unknown }],
    });
    expect(valueOf(await json('rebuild', '--replace'), rebuilt)).toMatchObject({ replaced: true, differs: false });
    // Only the tables remember a file that has left landing.
    const gone = path.join(lake, 'landing', 'customer_landing', 'people-2.json');
    renameSync(gone, `${gone}.part`);
    const kept = { replaced: false, differs: true, gone: ['customer_landing/people-2.json'] };
    expect(valueOf(await json('rebuild', '--replace'), rebuilt, 1)).toMatchObject(kept);
    expect(valueOf(await json('query', 'select count(*) as rows from customer_staging'), z.unknown())).toEqual([{ rows: 3 }]);
    expect(valueOf(await json('rebuild', '--replace', '--forget'), rebuilt)).toMatchObject({ ...kept, replaced: true });
    expect(valueOf(await json('query', 'select count(*) as rows from customer_staging'), z.unknown())).toEqual([{ rows: 2 }]);
    renameSync(`${gone}.part`, gone);
    expect(valueOf(await json('run'), runResultSchema)).toMatchObject({ status: 'SUCCEEDED', tables: { customer_staging: 3 } });
    expect(valueOf(await json('run'), runResultSchema)).toMatchObject({
      status: 'NOTHING_TO_DO',
      tables: { accelerometer_staging: 3 },
    });
  });

  test('query gives numbers that JSON can hold as numbers, and others as text', async () => {
    const sql = 'select 9007199254740991 as safe, 9007199254740993 as beyond, 1.10::DECIMAL(9,2) as decimal';
    expect(valueOf(await json('query', sql), z.unknown())).toEqual([
      { safe: 9007199254740991, beyond: '9007199254740993', decimal: '1.10' },
    ]);
  });

  test('check finds the lake healthy', async () => {
    const schema = z.strictObject({
      ok: z.boolean(),
      files: z.strictObject({ pending: z.int(), claimed: z.int(), loaded: z.int(), held: z.int() }),
      checks: z.array(z.strictObject({ name: z.string(), ok: z.boolean(), found: z.string() })),
    });
    const { ok, files, checks } = valueOf(await json('check'), schema);
    expect(files).toMatchObject({ pending: 0, claimed: 0, held: 0 });
    expect(files.loaded).toBeGreaterThan(0);
    expect(checks.filter((each) => !each.ok)).toEqual([]);
    expect(ok).toBe(true);
  });

  test('graph', async () => {
    const { States } = valueOf(await json('graph'), z.looseObject({ States: z.record(z.string(), z.unknown()) }));
    expect(Object.keys(States)).toEqual(expect.arrayContaining(['Plan', ...models(), 'Validate', 'Publish', 'Report']));
  });

  test('watch takes what another program puts there, and ends with Ctrl-C', async () => {
    const watching = startStedi(['watch', '--lake', lake, '--json', '--set', 'settleSeconds=0']);
    await watching.says(/Watching/);
    landAll(lake, { 'customer_landing/arrived.json': lines(customer({ email: 'dan@x.org' })) });
    await watching.says(/SUCCEEDED/);
    writeFileSync(path.join(lake, 'landing', 'stray.json'), '{}');
    await watching.says(/left alone: stray\.json belongs to none of the landing tables/);
    landAll(lake, { 'customer_landing/later.json': lines(customer({ email: 'eve@x.org' })) });
    await watching.says(/"runId".*\n.*"runId"/);
    const { code, stdout } = await watching.stop('SIGINT');
    expect(code).toBe(0);
    const lineSchema = z.strictObject({ runId: z.string(), status: z.literal('SUCCEEDED'), error: z.null() });
    const ended = stdout
      .trimEnd()
      .split('\n')
      .map((line) => lineSchema.parse(JSON.parse(line)));
    expect(new Set(ended.map(({ runId }) => runId)).size).toBe(2);
  });
});

function models(): string[] {
  return ['CustomerTrusted', 'AccelerometerTrusted', 'CustomersCurated', 'StepTrainerTrusted', 'MachineLearningCurated'];
}

describe('text for a person', () => {
  const lake = newFolder();

  test('a run says what happened, with the table, the identity in words and where things lie', async () => {
    const { code, stdout } = await stedi('run', sourceFolder(newFolder()), '--lake', lake);
    expect(code).toBe(0);
    for (const state of models()) expect(stdout).toContain(state);
    expect(stdout).toMatch(/\| landing +\| +2 \| +3 \| +2 \|/);
    expect(stdout).toContain('1 at the same time = 1 same person + 0 other person, excluded');
    expect(stdout).toContain('7 landed now = 6 staged + 0 duplicate + 1 rejected ("stedi rejects" shows them)');
    expect(stdout).toContain(path.join(lake, 'lakehouse.duckdb'));
    expect(stdout).toMatch(/runs\/run-\S+\/report\.md/);
  });

  const shown: [string[], RegExp[]][] = [
    [['runs'], [/SUCCEEDED/]],
    [
      ['show', 'last'],
      [/# SUCCEEDED/, /## Files/, /audit:loaded_once/],
    ],
    [['files'], [/customer_landing\/people\.json/, /loaded/]],
    [['rejects'], [/not_a_number \(x\)/]],
    [['query', 'from customer_trusted'], [/ann@x\.org/]],
    [['check'], [/This lake is healthy/]],
    [
      ['graph'],
      [
        /AnythingToDo +Choice\n {2}├─ status is NOTHING_TO_DO ─▶ NothingToDo\n {2}▼\nCustomerTrusted .*one row per/i,
        /CountsAgree +Choice\n {2}├─ otherwise ─▶ PublishedCountsDiffer\n {2}▼\nPublished +Succeed\n {2}■\n$/,
      ],
    ],
  ];
  test.each(shown)('%j', async (command, texts) => {
    const { code, stdout } = await stedi(...command, '--lake', lake);
    expect(code).toBe(0);
    for (const text of texts) expect(stdout).toMatch(text);
  });
});
