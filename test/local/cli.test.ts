import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { ProcessLock } from '../../local/processLock.ts';
import { killedAt } from '../support/crashes.ts';
import { temporaryFolders } from '../support/folders.ts';
import { landAll, Running, runResultSchema, startStedi, STEDI, stedi } from '../support/lake.ts';
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
    expect(written.stderr).toMatch(/read-only.*query only reads/is);
    expect(written.code).not.toBe(0);
    const copied = await json('query', `copy customer_trusted to '${path.join(lake, 'stolen.csv')}'`);
    expect(copied.code).not.toBe(0);
    expect(existsSync(path.join(lake, 'stolen.csv'))).toBe(false);
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

  test('a taken name with other content gets a suffix; with the same content nothing is added', async () => {
    const file = path.join(newFolder(), 'people.json');
    const key = 'customer_landing/people-2.json';
    writeFileSync(file, lines(customer({ email: 'cem@x.org' })));
    const dropped = z.array(z.strictObject({ key: z.string(), added: z.boolean() }));
    expect(valueOf(await json('drop', 'customer_landing', file), dropped)).toEqual([{ key, added: true }]);
    expect(valueOf(await json('drop', 'customer_landing', file), dropped)).toEqual([{ key, added: false }]);
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
      tables: z.array(z.strictObject({ table: z.string(), rows: z.int(), rebuilt: z.int(), gone: z.int(), new: z.int() })),
    });
    expect(valueOf(await json('rebuild'), rebuilt)).toMatchObject({ replaced: false, differs: false });
    expect(valueOf(await json('rebuild', '--replace'), rebuilt)).toMatchObject({ replaced: true, differs: false });
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
    [['graph'], [/CustomerTrusted .*one row per/i, /nothing to do/]],
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
  const ready = stedi('run', source, '--lake', lake);
  beforeAll(async () => ready);

  const cases: [string, string[], RegExp][] = [
    ['an unknown flag', ['run', '--fast'], /--fast/],
    ['an unknown command', ['runn'], /runn/],
    ['an unknown setting', ['run', '--set', 'mlJion=time'], /mlJion.*known are mlJoin, consentFrom/],
    ['a value that a setting does not take', ['run', '--set', 'mlJoin=never'], /mlJoin.*person-and-time.*never/],
    ['a number out of range', ['run', '--set', 'maxRejectRatio=2'], /maxRejectRatio.*2/],
    ['a count of an unknown table', ['run', '--set', 'expectedCounts={"customers":1}'], /expectedCounts/],
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
    ['generate without a folder', ['generate'], /--out/],
    ['generate with no customer', ['generate', '--out', newFolder(), '--customers', '0'], /customers.*0/],
    ['generate with a number that is none', ['generate', '--out', newFolder(), '--customers', 'many'], /customers/],
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
    expect((await stedi('show', 'last', '--lake', lake)).stdout).toMatch(/ABORTED[\s\S]*was killed[\s\S]*stedi run/);
  });

  test('query says that nothing is published, and reads what has landed', async () => {
    const { code, stderr } = await stedi('query', 'from customer_trusted', '--lake', lake);
    expect(code).toBe(2);
    expect(stderr).toMatch(/No run was published yet.*stedi run/);
    const landed = await stedi('query', 'select count(*) as landed from customer_landing', '--lake', lake, '--json');
    expect(valueOf(landed, z.unknown())).toEqual([{ landed: 2 }]);
  });
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
