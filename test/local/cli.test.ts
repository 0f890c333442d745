import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { DuckDBInstance } from '@duckdb/node-api';
import { z } from 'zod';
import { check } from '../../local/commands/check.ts';
import { openSession } from '../../local/duckdb/session.ts';
import { lakePaths } from '../../local/home.ts';
import { ProcessLock } from '../../local/processLock.ts';
import { illnesses, killedAt } from '../support/crashes.ts';
import { temporaryFolders } from '../support/folders.ts';
import { call, landAll, runHere, Running, runResultSchema, startStedi, STEDI, stedi } from '../support/lake.ts';
import type { Ended } from '../support/lake.ts';
import { AT, CONSENT, customer, lines, motion, walk } from '../support/people.ts';

const newFolder = temporaryFolders();
const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const PEOPLE = [{ email: 'ann@x.org', shares: CONSENT }, { email: 'ben@x.org' }];
const BAD_MOTION = motion('ann@x.org', AT + 5).replace('"x":1', '"x":"left"');

/** The files of two people, one with a record that breaks its contract, as somebody would have them in a folder. */
function sourceFolder(): string {
  const source = newFolder();
  for (const [key, text] of Object.entries(walk(PEOPLE))) {
    const file = path.join(source, key);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, key.startsWith('accelerometer') ? `${text}${BAD_MOTION}\n` : text);
  }
  return source;
}

/** Changes tables behind the product's back. */
async function alter(lake: string, sql: string): Promise<void> {
  const session = await openSession(lakePaths(lake).tables, newFolder());
  await session.run.run(sql);
  session.close();
}

/** Standard output as the one JSON value that it is. */
function valueOf<T>({ stdout, code, stderr }: Ended, schema: z.ZodType<T>, exitCode = 0): T {
  expect({ code, stderr: code === exitCode ? '' : stderr }).toEqual({ code: exitCode, stderr: '' });
  return schema.parse(JSON.parse(stdout));
}

const runRow = z.strictObject({
  runId: z.string(),
  status: z.enum(['SUCCEEDED', 'FAILED', 'ABORTED', 'RUNNING']),
  startedAt: z.iso.datetime(),
  endedAt: z.iso.datetime().nullable(),
  seconds: z.number().nullable(),
  files: z.int().nullable(),
  rows: z.int().nullable(),
  error: z.string().nullable(),
});

const fileRow = z.looseObject({
  table: z.string(),
  key: z.string(),
  version: z.string(),
  state: z.enum(['pending', 'claimed', 'loaded', 'held']),
  runId: z.string().nullable(),
  why: z.string().nullable(),
  counts: z.strictObject({ landed: z.int(), staged: z.int(), duplicate: z.int(), rejected: z.int() }).nullable(),
});

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
    const result = valueOf(await json('run', sourceFolder()), runResultSchema);
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
    expect(valueOf(written, z.unknown())).toEqual({ file, rows: 1 });
    const read = await (await (await DuckDBInstance.create()).connect()).runAndReadAll(`from '${file}'`);
    expect(read.getRowObjectsJson()).toEqual([{ email: 'ann@x.org' }]);
  });

  test('query explain shows the plan as it is drawn', async () => {
    expect((await stedi('query', 'explain select 1', '--lake', lake)).stdout).toMatch(/^┌─+┐\n│ +PROJECTION/);
  });

  test.each([
    ['people.json', /ends in \.parquet or \.csv/],
    [path.join('nowhere', 'people.csv'), /nowhere is no folder/],
    [path.join('LAKE', 'landing', 'customer_landing', 'people.csv'), /within the lake/],
    [path.join('LAKE', 'people.csv'), /within the lake/],
    [path.join('FOLDER', 'folder.csv'), /no file; name another/],
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

  test('query --out takes a SELECT', async () => {
    const out = path.join(newFolder(), 'rows.csv');
    for (const sql of ['describe customer_trusted', 'show tables', 'explain select 1'])
      expect((await json('query', sql, '--out', out)).stderr).toMatch(/--out writes the rows of a SELECT/);
  });

  test('query shows so many rows, and any number in a file', async () => {
    const { code, stderr } = await json('query', 'from range(100_001)');
    expect([code, stderr]).toEqual([2, expect.stringContaining('shows 100,000 rows at most') as unknown]);
    expect(valueOf(await json('query', 'from range(100_000)'), z.array(z.unknown()))).toHaveLength(100_000);
    const file = path.join(newFolder(), 'range.parquet');
    expect(valueOf(await json('query', 'from range(300_000)', '--out', file), z.unknown())).toEqual({ file, rows: 300_000 });
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
    expect(stdout).toMatch(/Not exported, for their text was not kept[^\n]*:\n {2}customer_landing\/cut\.json\.gz, line 1/);
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
    const retried = valueOf(await json('retry', '--run', failed.runs[0] ?? ''), z.array(z.looseObject({ key: z.string() })));
    expect(retried).toMatchObject([{ key: 'customer_landing/people-2.json' }]);
    expect(valueOf(await json('run'), runResultSchema)).toMatchObject({ status: 'SUCCEEDED', tables: { customer_staging: 3 } });
  });

  test('rebuild gives the same tables, and replaces them when asked', async () => {
    const rebuilt = z.strictObject({
      replaced: z.boolean(),
      differs: z.boolean(),
      held: z.array(z.string()),
      unread: z.array(z.string()),
      gone: z.array(z.string()),
      returning: z.int(),
      tables: z.array(z.strictObject({ table: z.string(), rows: z.int(), rebuilt: z.int(), gone: z.int(), new: z.int() })),
    });
    expect(valueOf(await json('rebuild'), rebuilt)).toMatchObject({ replaced: false, differs: false });
    // A file that was loaded under a milder limit would be missing: the tables stay.
    const strict = await json('rebuild', '--replace', '--set', 'minRecordsForRatio=1', '--set', 'maxRejectRatio=0');
    expect(valueOf(strict, rebuilt, 1)).toMatchObject({
      replaced: false,
      differs: true,
      held: [expect.stringContaining('walk.json')],
    });
    expect(valueOf(await json('rebuild', '--replace'), rebuilt)).toMatchObject({ replaced: true, differs: false });
    // A file that has left landing is remembered by the tables alone.
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

  test('check finds the lake healthy', async () => {
    const schema = z.strictObject({
      ok: z.boolean(),
      checks: z.array(z.strictObject({ name: z.string(), ok: z.boolean(), found: z.string() })),
    });
    const { ok, checks } = valueOf(await json('check'), schema);
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
    await watching.says(/left alone: stray\.json belongs to no landing table/);
    expect((await watching.stop('SIGINT')).code).toBe(0);
  });
});

function models(): string[] {
  return ['CustomerTrusted', 'AccelerometerTrusted', 'CustomersCurated', 'StepTrainerTrusted', 'MachineLearningCurated'];
}

describe('text for a person', () => {
  const lake = newFolder();

  test('a run says what happened, with the table, the identity in words and where things lie', async () => {
    const { code, stdout } = await stedi('run', sourceFolder(), '--lake', lake);
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

describe('used wrongly: exit code 2, the thing named and what to do', () => {
  const lake = newFolder();
  const source = sourceFolder();
  const broken = path.join(newFolder(), 'settings.json');
  writeFileSync(broken, '{ "mlJoin": ');
  const odd = path.join(newFolder(), 'settings.json');
  writeFileSync(odd, '{ "mlJion": "time" }');
  const untold = newFolder();
  cpSync(source, untold, { recursive: true });
  writeFileSync(path.join(untold, 'who-knows.json'), '{}');
  const hidden = path.join(newFolder(), 'customers.json.part');
  writeFileSync(hidden, lines(customer({ email: 'hidden@x.org' })));
  const pipe = path.join(newFolder(), 'customers.json');
  execFileSync('mkfifo', [pipe]);
  const mended = newFolder();
  mkdirSync(path.join(mended, 'accelerometer_landing'));
  writeFileSync(path.join(mended, 'accelerometer_landing', 'walk.json'), 'mended');
  const ready = stedi('run', source, '--lake', lake);
  beforeAll(async () => ready);

  const cases: [string, string[], RegExp][] = [
    ['an unknown flag', ['run', '--fast'], /--fast/],
    ['an unknown command', ['runn'], /runn/],
    ['an unknown setting', ['run', '--set', 'mlJion=time'], /mlJion.*known are mlJoin, consentFrom/],
    ['a value that a setting does not take', ['run', '--set', 'mlJoin=never'], /mlJoin.*person-and-time.*never/],
    ['a number out of range', ['run', '--set', 'maxRejectRatio=2'], /maxRejectRatio.*2/],
    ['a count of an unknown table', ['run', '--set', 'expectedCounts={"customers":1}'], /customers; known are customer_landing/],
    ['a setting without a value', ['run', '--set', 'mlJoin'], /--set mlJoin: expected key=value/],
    ['a settings file that is missing', ['run', '--settings', '/no/such/settings.json'], /\/no\/such\/settings\.json/],
    ['a settings file that is no JSON', ['run', '--settings', broken], /settings\.json/],
    ['a settings file with an unknown setting', ['run', '--settings', odd], /mlJion/],
    ['unknown expectations', ['run', '--expect', 'guessed'], /published/],
    ['a source that is missing', ['run', '/no/such/folder'], /\/no\/such\/folder does not exist/],
    ['files whose table cannot be told', ['run', untold], /who-knows\.json[\s\S]*customer, accelerometer or step_trainer/],
    [
      'an unknown landing table',
      ['drop', 'customers', 'x.json'],
      /customer_landing, accelerometer_landing, step_trainer_landing/,
    ],
    ['a file that is missing', ['drop', 'customer_landing', '/no/such.json'], /\/no\/such\.json/],
    ['a run that is unknown', ['show', 'run-of-luck'], /run-of-luck.*stedi runs/],
    ['rejects of an unknown run', ['rejects', '--run', 'run-of-luck'], /run-of-luck.*stedi runs/],
    ['retry of nothing', ['retry'], /--run/],
    [
      'retry of what is not held',
      ['retry', 'customer_landing/people.json'],
      /customer_landing\/people\.json.*files --state held/,
    ],
    ['an unknown state', ['files', '--state', 'lost'], /lost.*pending, claimed, loaded, held/],
    ['SQL that is none', ['query', 'selec 1'], /selec/],
    ['no SQL', ['query', ' /* nothing */ ; '], /needs SQL/],
    ['several statements', ['query', 'select 1; select 2'], /one statement, found 2/],
    ['a source that no run would read', ['run', hidden], /customers\.json\.part.*rename it.*Nothing was copied/],
    ['a file to drop that no run would read', ['drop', 'customer_landing', hidden], /customers\.json\.part.*rename it/],
    ['a source that is no file', ['run', pipe], /neither a file nor a folder/],
    ['retry of an unknown run', ['retry', '--run', 'run-of-luck'], /run-of-luck names no run.*stedi runs/],
    [
      'retry of a path',
      ['retry', path.join(source, 'people.json')],
      /people\.json is not held.*like customer_landing\/file\.json/,
    ],
    ['an export over mended files', ['rejects', '--export', mended], /Nothing was written[^]*walk\.json/],
    ['a rebuild that forgets and replaces nothing', ['rebuild', '--forget'], /--forget goes with --replace/],
    ['generate without a folder', ['generate'], /--out/],
    ['generate into a lake', ['generate', '--out', lake], /this is a lake.*landing/],
    ['generate with no customer', ['generate', '--out', newFolder(), '--customers', '0'], /customers.*0/],
    [
      'generate with a number that is none',
      ['generate', '--out', newFolder(), '--customers', 'many'],
      /customers.*many is no number/,
    ],
    ['a lake that is not there', ['check', '--lake', path.join(newFolder(), 'none')], /none.*no lake/],
  ];

  test.concurrent.each(cases)('%s', async (_name, args, message) => {
    await ready;
    const { code, stdout, stderr } = await stedi('--lake', lake, ...args);
    expect(stderr).toMatch(message);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  test('nothing was copied, and the lake is as it was', async () => {
    const files = valueOf(await stedi('files', '--lake', lake, '--json'), z.array(fileRow));
    expect(files.map(({ key }) => key)).toEqual(Object.keys(walk([])).sort());
    expect(readdirSync(path.join(lake, 'landing', 'customer_landing'))).toEqual(['people.json']);
    expect(readFileSync(path.join(mended, 'accelerometer_landing', 'walk.json'), 'utf8')).toBe('mended');
  });
});

describe('a first run that was killed before it published', () => {
  const lake = newFolder();
  const statuses = async () =>
    valueOf(await stedi('runs', '--lake', lake, '--json'), z.array(runRow)).map(({ status }) => status);

  beforeAll(async () => {
    landAll(lake, walk(PEOPLE));
    await killedAt(lake, 'log table_staged customer_landing');
  });

  test('runs shows it as going only while a process works on the lake', async () => {
    const lock = ProcessLock.acquire(lake, 'a test');
    expect(await statuses()).toEqual(['RUNNING']);
    lock.release();
    expect(await statuses()).toEqual(['ABORTED']);
    expect((await stedi('show', 'last', '--lake', lake)).stdout).toMatch(/^# ABORTED[\s\S]*was killed[\s\S]*stedi run/);
  });

  test('query says that nothing is published, and reads what has landed', async () => {
    const { code, stderr } = await stedi('query', 'from customer_trusted', '--lake', lake);
    expect(code).toBe(2);
    expect(stderr).toMatch(/No run was published yet.*stedi run/);
    const landed = await stedi('query', 'select count(*) as landed from customer_landing', '--lake', lake, '--json');
    expect(valueOf(landed, z.unknown())).toEqual([{ landed: 2 }]);
  });
});

test('after three kills in a row the files are held, every run says so, and retry takes them in', async () => {
  const lake = newFolder();
  landAll(lake, walk(PEOPLE));
  for (let kill = 0; kill < 3; kill += 1) await killedAt(lake, 'log table_staged customer_landing');
  const third = await stedi('run', '--lake', lake);
  expect(third.code).toBe(1);
  expect(third.stdout).toMatch(/customer_landing\/people\.json: 3 runs in a row ended/);
  const later = await stedi('run', '--lake', lake);
  expect(later.code).toBe(1);
  expect(later.stdout).toMatch(/Nothing to do[\s\S]*3 files held from before wait for a person: "stedi files --state held"/);
  await stedi('retry', ...Object.keys(walk(PEOPLE)), '--lake', lake);
  expect((await stedi('run', '--lake', lake)).code).toBe(0);
});

describe('query reads the landing files as they are', () => {
  const lake = newFolder();
  const record = (at: number): string => motion('ann@x.org', AT + at);
  const outside = path.join(newFolder(), 'elsewhere.json');
  writeFileSync(outside, lines(record(60)));
  const odd: Record<string, { content: string | Uint8Array; read: number[]; nulls?: number }> = {
    'lines.json': { content: lines(record(1), record(2)), read: [1, 2] },
    'one*[name]?.json': { content: record(3), read: [3] },
    'several.json': { content: `${record(4)}${record(5)} , ${record(6)}\r\n`, read: [4, 5, 6] },
    'array.json': { content: `[${record(7)},${record(8)}]`, read: [7, 8] },
    'array-over-lines.json': { content: `\ufeff[\n${record(9)},\n${record(10)}\n]\n`, read: [9, 10] },
    'printed.json': { content: JSON.stringify(JSON.parse(record(11)), null, 2), read: [], nulls: 7 },
    'broken.json': { content: lines(record(12), 'rubbish', record(13).slice(0, 20), '7'), read: [12], nulls: 3 },
    'bytes.json': { content: Uint8Array.from({ length: 4000 }, (_, at) => 128 + (at % 100)), read: [] },
    'zipped-by-content.json': { content: gzipSync(lines(record(14))), read: [14] },
    'zipped-by-name.json.gz': { content: lines(record(15)), read: [15] },
    'cut.json.gz': { content: gzipSync(lines(...Array.from({ length: 500 }, (_, at) => record(at)))).subarray(0, 20), read: [] },
    'empty.json': { content: '', read: [] },
    'timestamp=5/x=6/in-a-folder.json': { content: record(17), read: [17] },
    'writing.json.part': { content: lines(record(16)), read: [] },
  };

  test('every file that is listed, in any layout; an odd one makes no table unreadable', async () => {
    landAll(
      lake,
      Object.fromEntries(Object.entries(odd).map(([name, { content }]) => [`accelerometer_landing/${name}`, content])),
    );
    symlinkSync(outside, path.join(lake, 'landing', 'accelerometer_landing', 'linked.json'));
    expect((await stedi('run', '--lake', lake)).code).toBe(0);
    const found = await stedi('query', 'select "timestamp"::BIGINT as at from accelerometer_landing', '--lake', lake, '--json');
    const times = valueOf(found, z.array(z.strictObject({ at: z.int().nullable() }))).map(({ at }) => at);
    const read = Object.values(odd).flatMap((each) => each.read);
    expect(times.filter((at) => at !== null).sort()).toEqual([...read, 60].map((at) => AT + at).sort());
    const nulls = Object.values(odd).reduce((sum, each) => sum + (each.nulls ?? 0), 0);
    expect(times.filter((at) => at === null).length).toBeGreaterThanOrEqual(nulls);
  });

  test('shows columns that files brought besides, in whatever case; a lake without its ledger shows those of the contract', async () => {
    const folder = newFolder();
    const person = JSON.parse(customer({ email: 'ann@x.org' })) as object;
    landAll(folder, {
      'customer_landing/one.json': JSON.stringify({ ...person, nickName: 'Annie' }),
      'customer_landing/two.json': JSON.stringify({ ...person, nickname: 'Nan', shoe_size: 38 }),
    });
    expect((await stedi('run', '--lake', folder)).code).toBe(0);
    const sql = 'select nickname, shoe_size from customer_landing order by 1';
    expect(valueOf(await stedi('query', sql, '--lake', folder, '--json'), z.unknown())).toEqual([
      { nickName: 'Annie', shoe_size: null },
      { nickName: 'Nan', shoe_size: '38' },
    ]);
    rmSync(lakePaths(folder).ledger);
    const found = await stedi('query', 'select count(email) as people from customer_landing', '--lake', folder, '--json');
    expect(valueOf(found, z.unknown())).toEqual([{ people: 2 }]);
    expect((await stedi('query', sql, '--lake', folder)).stderr).toMatch(/nickname/);
  });

  test('a table without a file is empty', async () => {
    const found = await stedi(
      'query',
      'select count("serialNumber") as devices from step_trainer_landing',
      '--lake',
      lake,
      '--json',
    );
    expect(valueOf(found, z.unknown())).toEqual([{ devices: 0 }]);
  });

  test('nothing else on the machine', async () => {
    const { code, stderr } = await stedi('query', `from read_json('${PROJECT}package.json')`, '--lake', lake);
    expect(code).toBe(2);
    expect(stderr).toMatch(/Permission Error/);
  });
});

describe('files that were dropped and that no run knows yet', () => {
  const lake = newFolder();
  const at = ['--lake', lake];

  test('are pending, and every command says that a plain run takes them in', async () => {
    const file = path.join(sourceFolder(), 'customer_landing', 'people.json');
    await stedi('drop', 'customer_landing', file, ...at);
    expect(valueOf(await stedi('files', '--state', 'pending', '--json', ...at), z.array(fileRow))).toMatchObject([
      { key: 'customer_landing/people.json', state: 'pending', runId: null, counts: null },
    ]);
    expect((await stedi('runs', ...at)).stdout).toMatch(/No run yet; "stedi run"/);
    expect((await stedi('query', 'from customer_trusted', ...at)).stderr).toMatch(/no tables yet.*"stedi run" builds/);
    expect((await stedi('rejects', ...at)).code).toBe(0);
    expect((await stedi('check', ...at)).stdout).toContain('0 loaded, 1 pending, 0 held');
  });
});

describe('a folder to take in', () => {
  const newSource = (): string => {
    const source = path.join(newFolder(), 'nm', 'customer_landing');
    mkdirSync(source, { recursive: true });
    return source;
  };

  test('its own path may tell the table; links that lead to no file are named', async () => {
    const [source, lake] = [newSource(), newFolder()];
    writeFileSync(path.join(source, '1.json'), lines(customer({ email: 'ann@x.org' })));
    symlinkSync(newFolder(), path.join(source, 'folder'));
    symlinkSync('nowhere', path.join(source, 'dangling.json'));
    const { code, stdout } = await stedi('run', source, '--lake', lake);
    expect(code).toBe(0);
    expect(stdout).toMatch(/links lead to no file: .*folder.*dangling\.json|links lead to no file: .*dangling\.json.*folder/);
    expect(readdirSync(path.join(lake, 'landing', 'customer_landing'))).toEqual(['1.json']);
  });

  test('may hold the lake itself, which is left out', async () => {
    const source = newSource();
    writeFileSync(path.join(source, '1.json'), lines(customer({ email: 'ann@x.org' })));
    const lake = path.join(path.dirname(source), 'lake');
    const run = () => stedi('run', path.dirname(source), '--lake', lake);
    expect((await run()).code).toBe(0);
    expect(await run()).toMatchObject({ code: 0, stdout: expect.stringContaining('Nothing new') as unknown });
  });

  test('an empty one is named', async () => {
    const source = newSource();
    expect((await stedi('run', source, '--lake', newFolder())).stdout).toContain(`${source} holds no file to take in`);
  });
});

describe('a run says', () => {
  const lake = newFolder();
  const run = (...args: string[]) => stedi('run', '--lake', lake, ...args);

  test('which expectations an empty lake does not meet', async () => {
    const { code, stdout } = await run('--expect', 'published');
    expect(code).toBe(1);
    expect(stdout).toMatch(/Nothing to do[\s\S]*Not met:[\s\S]*expected:customer_landing: expected 956, found 0/);
  });

  test('what it staged itself, and only rows where that is nothing', async () => {
    await run(sourceFolder());
    const more = path.join(newFolder(), 'customers.json');
    writeFileSync(more, lines(customer({ email: 'cem@x.org' })));
    const { stdout } = await run(more);
    expect(stdout).toMatch(/CustomerTrusted +1 staged, 1 rows/);
    expect(stdout).toMatch(/AccelerometerTrusted +1 rows/);
    expect(stdout).not.toContain('Policies');
  });

  test('why all tables are built anew, and under which policies', async () => {
    const anew = /built anew: settings, models or contracts have changed/;
    const changed = (await run('--set', 'consentFrom=consent-date')).stdout;
    expect(changed).toMatch(anew);
    expect(changed).toContain('Policies: mlJoin person-and-time, consentFrom consent-date');
    const back = (await run()).stdout;
    expect(back).toMatch(anew);
    expect(back).toContain('Policies: mlJoin person-and-time, consentFrom any-time');
  });

  test('which step failed', async () => {
    const { code, stdout } = await run('--set', 'mlJoin=time', '--set', 'expectedCounts={"loads":0}');
    expect(code).toBe(1);
    expect(stdout).toMatch(/other person, excluded/); // as in the tables, which are as they were
    expect(stdout).toMatch(/Validate +FAILED +\d/);
    expect(stdout).toMatch(/ReportFailure +\d/);
  });
});

test('check audits by the policy that the tables were built with, not by that of its settings', async () => {
  const audit = z.object({ checks: z.array(z.object({ name: z.string(), ok: z.boolean() })) });
  const failedAudits = async (lake: string, ...args: string[]) => {
    const { checks } = audit.parse(JSON.parse((await stedi('check', '--json', '--lake', lake, ...args)).stdout));
    return checks.filter(({ name, ok }) => !ok && name.startsWith('audit')).map(({ name }) => name);
  };
  const consentsLate = walk([{ email: 'ann@x.org', shares: AT + 1 }]);
  const [anyTime, consentDate] = [newFolder(), newFolder()];
  landAll(anyTime, consentsLate);
  await stedi('run', '--lake', anyTime);
  expect(await failedAudits(anyTime, '--set', 'consentFrom=consent-date')).toEqual([]);
  landAll(consentDate, consentsLate);
  await stedi('run', '--lake', consentDate, '--set', 'consentFrom=consent-date');
  await alter(consentDate, 'insert into accelerometer_trusted select * from accelerometer_staging');
  expect(await failedAudits(consentDate)).toContain('audit accelerometer_trusted_consents');
});

test('rebuild: over what never published, with a failing gate, with differences', async () => {
  const lake = newFolder();
  const rebuild = (...args: string[]) => stedi('rebuild', '--lake', lake, ...args);
  landAll(lake, walk(PEOPLE));
  await killedAt(lake, 'log table_staged customer_landing');
  await stedi('run', '--lake', lake, '--set', 'expectedCounts={"loads":0}'); // all is held, nothing published
  const first = await rebuild();
  expect({ code: first.code, stderr: first.stderr }).toEqual({ code: 1, stderr: '' });
  expect(first.stdout).toMatch(/customer_staging +\| +0 \| +2 \|[\s\S]*tables differ/);
  const gate = await rebuild('--set', 'expectedCounts={"loads":0}');
  expect(gate.code).toBe(1);
  expect(gate.stderr).toMatch(/nothing could be rebuilt[\s\S]*expected:loads[\s\S]*must be raised here too/);
  expect((await rebuild('--replace')).code).toBe(0);
  expect((await rebuild()).code).toBe(0);
  landAll(lake, { 'customer_landing/later.json': lines(customer({ email: 'later@x.org' })) });
  const differing = await rebuild();
  expect(differing.code).toBe(1);
  expect(differing.stdout).toMatch(/Nothing was replaced; "stedi rebuild --replace" does/);
});

test('rebuild tells who would be back with a withdrawal that is gone from landing', async () => {
  const lake = newFolder();
  const rebuild = (...args: string[]) => stedi('rebuild', '--lake', lake, ...args);
  landAll(lake, walk(PEOPLE));
  const later = { 'customer_landing/later.json': lines(customer({ email: 'ann@x.org', updated: AT + 1 })) };
  await stedi('run', '--lake', lake);
  landAll(lake, later);
  await stedi('run', '--lake', lake);
  rmSync(path.join(lake, 'landing', 'customer_landing', 'later.json'));
  const kept = await rebuild('--replace');
  expect(kept.stdout).toMatch(/1 of the people who withdrew their consent would be back[^]*Nothing was replaced/);
  const forgotten = await rebuild('--replace', '--forget');
  expect(forgotten.stdout).toMatch(
    /The tables differed[^]*are lost\n[^]*1 of the people who withdrew their consent are back[^]*Replaced/,
  );
  expect(forgotten.stdout).not.toMatch(/on purpose/);
});

test('rebuild does not call records lost that landing still has, in a file that was written anew', async () => {
  const lake = newFolder();
  landAll(lake, walk(PEOPLE));
  await stedi('run', '--lake', lake);
  utimesSync(path.join(lake, 'landing', 'customer_landing', 'people.json'), 1, 1);
  const { code, stdout } = await stedi('rebuild', '--lake', lake);
  expect(code).toBe(0);
  expect(stdout).toMatch(/not in landing as they were[^]*people\.json\nNo record is missing/);
  rmSync(path.join(lake, 'lakehouse.duckdb'));
  expect((await stedi('rebuild', '--lake', lake)).stdout).toMatch(/people\.json\nWhat no other file holds of them is lost/);
});

test('settings may begin with a byte order mark, as some editors write it', async () => {
  const settings = path.join(newFolder(), 'settings.json');
  writeFileSync(settings, '\ufeff{ "mlJoin": "time" }');
  const ran = await stedi('run', sourceFolder(), '--lake', newFolder(), '--settings', settings, '--json');
  expect(valueOf(ran, runResultSchema)).toMatchObject({ mlJoin: 'time' });
});

test('the latest run is the one that was started last, although the clock was set back', async () => {
  const lake = newFolder();
  await stedi('run', sourceFolder(), '--lake', lake);
  const database = new DatabaseSync(lakePaths(lake).ledger);
  database.exec("update executions set started_at = '2099-01-01T00:00:00.000Z'");
  database.close();
  const { runs } = valueOf(await stedi('run', '--lake', lake, '--set', 'mlJoin=time', '--json'), runResultSchema);
  expect((await stedi('show', 'last', '--lake', lake)).stdout).toContain(`Run ${runs[0]}`);
});

test('rebuild: a column that the tables of the lake do not have yet', async () => {
  const lake = newFolder();
  landAll(lake, walk(PEOPLE));
  await stedi('run', '--lake', lake);
  await alter(lake, 'alter table customer_staging drop column phone');
  const { code, stdout } = await stedi('rebuild', '--lake', lake);
  expect(code).toBe(1);
  expect(stdout).toMatch(/customer_staging +\| +2 \| +2 \| +2 \| +2 \|/);
});

test('a file of which nothing could be used is named', async () => {
  const lake = newFolder();
  landAll(lake, { ...walk(PEOPLE), 'customer_landing/people.csv': 'customerName,email\nann,ann@x.org\n' });
  const { code, stdout } = await stedi('run', '--lake', lake);
  expect(code).toBe(0);
  expect(stdout).toMatch(/every record was rejected[^\n]*:\n {2}customer_landing\/people\.csv: 2 rejected/);
  expect((await stedi('files', '--lake', lake)).stdout).toMatch(/people\.csv +\|.*every record was rejected/);
});

test('a file whose name is as long as a name can be is dropped', async () => {
  const lake = newFolder();
  const file = path.join(newFolder(), `${'a'.repeat(250)}.json`);
  writeFileSync(file, lines(customer({ email: 'ann@x.org' })));
  expect(await stedi('drop', 'customer_landing', file, '--lake', lake)).toMatchObject({ code: 0 });
});

test('help of every command has examples', async () => {
  const { code, stdout } = await stedi('--help');
  expect(code).toBe(0);
  const names = [...(/Commands:\n([\s\S]*?)\n\n/.exec(stdout)?.[1] ?? '').matchAll(/^ {2}(\w+)/gm)].map(([, name = '']) => name);
  expect(names).toEqual(
    expect.arrayContaining('run drop watch runs show files rejects retry rebuild query graph generate check start'.split(' ')),
  );
  const helps = await Promise.all(names.map(async (name) => ({ name, ...(await stedi(name, '--help')) })));
  expect(helps.map(({ stderr, ...help }) => [help.name, help.code, stderr])).toEqual(names.map((name) => [name, 0, '']));
  for (const { name, stdout: text } of helps) expect(text).toContain(`Examples:\n  stedi ${name}`);
});

test('help and version, as people ask for them', async () => {
  const [help, same, version] = await Promise.all([stedi('help', 'drop'), stedi('drop', '--help'), stedi('--version')]);
  expect(help).toEqual(same);
  expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});

test('generate makes the same files for the same seed, other ones for another', async () => {
  const [one, same, other] = [newFolder(), newFolder(), newFolder()];
  const schema = z.looseObject({
    files: z.int(),
    bytes: z.int(),
    records: z.record(z.string(), z.int()),
    defects: z.array(z.unknown()),
  });
  const make = async (out: string, seed: string) =>
    valueOf(await stedi('generate', '--out', out, '--customers', '40', '--seed', seed, '--dirty', '--json'), schema);
  const [first, second] = [await make(one, '7'), await make(same, '7')];
  await make(other, '8');
  expect(second).toEqual(first);
  expect(first.defects.length).toBeGreaterThan(10);
  expect(contentsOf(same)).toEqual(contentsOf(one));
  expect(contentsOf(other)).not.toEqual(contentsOf(one));
});

function contentsOf(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    names.map(({ parentPath, name }) => [
      path.relative(folder, path.join(parentPath, name)),
      readFileSync(path.join(parentPath, name)).toString('base64'),
    ]),
  );
}

describe('however it is started', () => {
  const older = olderNode();
  if (older === null) console.warn('No Node older than 24 is installed here: that stedi finds its own Node is not checked');

  (older === null ? test.skip : test)('an older Node hands over to the one that comes with the packages', async () => {
    const lake = newFolder();
    landAll(lake, walk(PEOPLE));
    const ended = await new Running(older ?? '', [STEDI, 'run', '--lake', lake, '--json']).ended;
    expect(valueOf(ended, runResultSchema).tables).toMatchObject({ machine_learning_curated: 1 });
    expect((await new Running(older ?? '', [STEDI, 'run', '--set', 'x=1']).ended).code).toBe(2);
  });

  (older === null ? test.skip : test)('it ends where the Node that has started it is killed', async () => {
    const watch = new Running(older ?? '', [STEDI, 'watch', '--lake', newFolder()]);
    await watch.says(/Watching/);
    // Both hold standard output: it is at its end when both have ended.
    expect(await watch.stop('SIGKILL')).toMatchObject({ signal: 'SIGKILL' });
  });

  test('npm start makes sample data and runs; a second one says that there is nothing new', async () => {
    const lake = path.join(newFolder(), 'lake');
    const start = () => new Running('npm', ['start', '--silent', '--', '--lake', lake], { cwd: PROJECT }).ended;
    const first = await start();
    expect(first.code).toBe(0);
    expect(first.stdout).toContain('43,681 at the same time = 40,981 same person + 2,700 other person, excluded');
    expect(first.stdout).toMatch(/\| landing +\| +956 \| +81,273 \| +28,680 \|/);
    expect(first.stdout).toContain('npx stedi query');
    const second = await start();
    expect(second.code).toBe(0);
    expect(second.stdout).toContain('Nothing new');
  });
});

/** A Node below 24 on the path, where there is one besides that of the packages. */
function olderNode(): string | null {
  for (const folder of (process.env['PATH'] ?? '').split(path.delimiter)) {
    const node = path.join(folder, 'node');
    if (!existsSync(node)) continue;
    const major = Number(/^v(\d+)/.exec(execFileSync(node, ['--version'], { encoding: 'utf8' }))?.[1]);
    if (major >= 20 && major < 24) return node;
  }
  return null;
}

describe('check finds what is wrong with the tables', () => {
  const adapted = "update loads set staged = staged + 1, landed = landed + 1 where landing_table = 'customer_landing'";

  test.each([
    ['conservation of customer_landing', 'delete from customer_staging'],
    ['conservation of customer_landing', "update loads set landed = landed + 1 where landing_table = 'customer_landing'"],
    ['each record once in customer_staging', `insert into customer_staging from customer_staging limit 1; ${adapted}`],
    ['audit customer_trusted_consents', 'update customer_trusted set sharewithresearchasofdate = null'],
    [
      'loaded files stand in loads',
      "update loads set landed = landed + 1, rejected = rejected + 1 where landing_table = 'customer_landing'",
    ],
    [
      'loads stand in the ledger',
      "insert into loads select * replace ('other' as version, 0 as landed, 0 as staged) from loads limit 1",
    ],
  ])('%s: %s', async (name, damage) => {
    const lake = newFolder();
    landAll(lake, walk(PEOPLE));
    expect(await runHere(lake)).toMatchObject({ status: 'SUCCEEDED' });
    expect(await illnesses(lake)).toEqual([]);
    await alter(lake, damage);
    expect((await call({ lake }, check)).exitCode).toBe(1);
    expect(await illnesses(lake)).toContainEqual(expect.stringMatching(new RegExp(`^\\| ${name} +\\| NO `)));
  });
});
