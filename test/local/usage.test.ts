import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { fileRow, PEOPLE, sourceFolder, valueOf } from '../support/commandLine.ts';
import { temporaryFolders } from '../support/folders.ts';
import { landAll, Running, runResultSchema, STEDI, stedi } from '../support/lake.ts';
import { customer, lines, walk } from '../support/people.ts';

const newFolder = temporaryFolders();
const PROJECT = fileURLToPath(new URL('../../', import.meta.url));

describe('used wrongly: exit code 2, the thing named and what to do', () => {
  const lake = newFolder();
  const source = sourceFolder(newFolder());
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
    ['help for an unknown command', ['help', 'runn'], /there is no command runn; "stedi --help"/],
    ['a run over a lake that is not there', ['run', '--lake', '/no/such/lake'], /\/no\/such\/lake holds no lake yet/],
    ['an unknown setting', ['run', '--set', 'mlJion=time'], /mlJion.*expected one of mlJoin, consentFrom/],
    ['a value that a setting does not take', ['run', '--set', 'mlJoin=never'], /mlJoin.*person-and-time.*never/],
    ['a number out of range', ['run', '--set', 'maxRejectRatio=2'], /maxRejectRatio.*2/],
    [
      'a count of an unknown table',
      ['run', '--set', 'expectedCounts={"customers":1}'],
      /customers; expected one of customer_landing/,
    ],
    [
      'a setting for a command that builds nothing',
      ['query', 'select 1', '--set', 'mlJoin=time'],
      /query builds nothing.*start, run, watch, rebuild/,
    ],
    [
      'an expectation of a command that builds nothing',
      ['check', '--expect', 'published'],
      /--expect checks what a run builds.*check builds nothing/,
    ],
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
    ['a limit below one', ['runs', '--limit', '0'], /--limit.*'0'.*whole number, 1 or more/],
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
    ['retry of an unknown run', ['retry', '--run', 'run-of-luck'], /run-of-luck matches no run.*stedi runs/],
    [
      'retry of a path',
      ['retry', path.join(source, 'people.json')],
      /people\.json is not held.*like customer_landing\/file\.json/,
    ],
    ['an export over mended files', ['rejects', '--export', mended], /Nothing was written[^]*walk\.json/],
    ['a rebuild that forgets and replaces nothing', ['rebuild', '--forget'], /--forget works only with --replace/],
    ['generate without a folder', ['generate'], /--out/],
    ['generate into a lake', ['generate', '--out', lake], /this is a lake.*landing/],
    ['generate with no customer', ['generate', '--out', newFolder(), '--customers', '0'], /customers.*0/],
    [
      'generate with a number that is none',
      ['generate', '--out', newFolder(), '--customers', 'many'],
      /customers.*many is not a number/,
    ],
    [
      'a lake without a name',
      ['--lake', '', 'drop', 'customer_landing', path.join(source, 'customer_landing', 'people.json')],
      /--lake is empty/,
    ],
    ['a lake that DuckDB can not keep', ['--lake', path.join(newFolder(), 'why?'), 'run', source], /why\?.*can't be a lake/],
    [
      'a lake whose path is too long',
      ['--lake', path.join(newFolder(), ...Array<string>(3).fill('a'.repeat(200))), 'run', source],
      /bytes too long/,
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

describe('whatever becomes of the output', () => {
  const lake = newFolder();
  const shell = (line: string) =>
    new Running('bash', ['-c', `set -o pipefail; "$0" "$1" runs --lake "$2" ${line}`, process.execPath, STEDI, lake]).ended;
  beforeAll(async () => stedi('run', sourceFolder(newFolder()), '--lake', lake));

  test('a reader that has seen enough is no error', async () => {
    expect(await shell('| true')).toMatchObject({ code: 0, stderr: '' });
  });

  test('a full disk behind it is one', async () => {
    expect(await shell('> /dev/full')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/output can't be written: .*ENOSPC/) as unknown,
    });
  });

  test.each([
    ['ledger.sqlite', /Move it away/],
    ['.lock', /remove it/],
  ])('with --json an error is its one value: %s is damaged', async (name, advice) => {
    const damaged = newFolder();
    cpSync(lake, damaged, { recursive: true });
    writeFileSync(path.join(damaged, name), 'rubbish'.repeat(1_000));
    const { code, stdout, stderr } = await stedi('run', '--lake', damaged, '--json');
    const { error } = z.strictObject({ error: z.string() }).parse(JSON.parse(stdout));
    expect({ code, stderr }).toEqual({ code: 1, stderr: `${error}\n` });
    expect(error).toContain(`${path.join(damaged, name)} is damaged`);
    expect(error).toMatch(advice);
  });
});

test('settings may begin with a byte order mark, as some editors write it', async () => {
  const settings = path.join(newFolder(), 'settings.json');
  writeFileSync(settings, '\ufeff{ "mlJoin": "time" }');
  const ran = await stedi('run', sourceFolder(newFolder()), '--lake', newFolder(), '--settings', settings, '--json');
  expect(valueOf(ran, runResultSchema)).toMatchObject({ mlJoin: 'time' });
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
    // Both hold standard output: it ends when both have ended.
    expect(await watch.stop('SIGKILL')).toMatchObject({ signal: 'SIGKILL' });
  });

  (older === null ? test.skip : test)('it says so where the Node that it has started is killed', async () => {
    const watch = new Running(older ?? '', [STEDI, 'watch', '--lake', newFolder()]);
    await watch.says(/Watching/);
    process.kill(Number(readFileSync(`/proc/${watch.pid}/task/${watch.pid}/children`, 'utf8')), 'SIGKILL');
    expect(await watch.ended).toMatchObject({ code: 137, stderr: expect.stringContaining('ended by SIGKILL') as unknown });
  });

  test('npx finds it in the project', async () => {
    const asked = new Running('npx', ['--no-install', 'stedi', '--version'], { cwd: PROJECT });
    expect((await asked.ended).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  test('two starts at once: neither writes what the other reads', async () => {
    const lake = newFolder();
    const both = await Promise.all([stedi('start', '--lake', lake), stedi('start', '--lake', lake)]);
    for (const { code, stderr } of both)
      expect(code === 0 || (code === 75 && stderr.includes('is in use by process'))).toBe(true);
    expect(both.map(({ stdout }) => stdout).join('')).not.toMatch(/FAILED/);
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

/** A Node below 24 on the path, if there is one besides the packages' own. */
function olderNode(): string | null {
  for (const folder of (process.env['PATH'] ?? '').split(path.delimiter)) {
    const node = path.join(folder, 'node');
    if (!existsSync(node)) continue;
    const major = Number(/^v(\d+)/.exec(execFileSync(node, ['--version'], { encoding: 'utf8' }))?.[1]);
    if (major >= 20 && major < 24) return node;
  }
  return null;
}

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
