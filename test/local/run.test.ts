import { chmodSync, existsSync, mkdirSync, readdirSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';
import { lakePaths } from '../../local/lakePaths.ts';
import { ProcessLock } from '../../local/processLock.ts';
import { fileRow, PEOPLE, runRow, sourceFolder, valueOf } from '../support/commandLine.ts';
import { killedAt } from '../support/crashes.ts';
import { temporaryFolders } from '../support/folders.ts';
import { landAll, runResultSchema, stedi } from '../support/lake.ts';
import { customer, lines, walk } from '../support/people.ts';

const newFolder = temporaryFolders();

describe('a run says', () => {
  const lake = newFolder();
  const run = (...args: string[]) => stedi('run', '--lake', lake, ...args);

  test('which expectations an empty lake does not meet', async () => {
    const { code, stdout } = await run('--expect', 'published');
    expect(code).toBe(1);
    expect(stdout).toMatch(/Nothing to do[\s\S]*Not met:[\s\S]*expected:customer_landing: expected 956, found 0/);
  });

  test('what it staged itself, and only rows where that is nothing', async () => {
    await run(sourceFolder(newFolder()));
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
    expect(stdout).toMatch(/other person, excluded/); // as in the tables, which have not changed
    expect(stdout).toMatch(/Validate +FAILED +\d/);
    expect(stdout).toMatch(/ReportFailure +\d/);
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
    const linked = path.join(newFolder(), 'customers');
    symlinkSync(path.dirname(source), linked);
    expect(await stedi('run', linked, '--lake', lake)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('Nothing new') as unknown,
    });
  });

  test('what is not UTF-8 in a name is named, and nothing is copied', async () => {
    const [source, lake] = [newSource(), newFolder()];
    writeFileSync(path.join(source, 'ann.json'), lines(customer({ email: 'ann@x.org' })));
    mkdirSync(Buffer.concat([Buffer.from(`${source}/f`), Buffer.of(0xfc)]));
    expect(await stedi('run', source, '--lake', lake)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/f\ufffd: its name is not UTF-8; rename it/) as unknown,
    });
    expect(existsSync(path.join(lake, 'landing'))).toBe(false);
  });

  test('an empty one is named', async () => {
    const source = newSource();
    expect((await stedi('run', source, '--lake', newFolder())).stdout).toContain(`${source} has no file to put into landing`);
  });
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

describe('files that were dropped and that no run knows yet', () => {
  const lake = newFolder();
  const at = ['--lake', lake];

  test('are pending, and every command says that a plain run takes them in', async () => {
    const file = path.join(sourceFolder(newFolder()), 'customer_landing', 'people.json');
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

test.each([
  ['drop', (source: string) => ['drop', 'customer_landing', path.join(source, 'customer_landing', 'people.json')]],
  ['run', (source: string) => ['run', source]],
])('a lake that %s makes is its owner’s alone, and one that is there stays as it is', async (_, words) => {
  const lake = path.join(newFolder(), 'deep', 'lake');
  const modes = () => [path.dirname(lake), lake].map((folder) => statSync(folder).mode & 0o777);
  await stedi(...words(sourceFolder(newFolder())), '--lake', lake);
  expect(modes()).toEqual([0o700, 0o700]);
  chmodSync(lake, 0o755);
  await stedi('run', '--lake', lake);
  expect(modes()).toEqual([0o700, 0o755]);
});

test('the latest run is the one that was started last, although the clock was set back', async () => {
  const lake = newFolder();
  await stedi('run', sourceFolder(newFolder()), '--lake', lake);
  const database = new DatabaseSync(lakePaths(lake).ledger);
  database.exec("update executions set started_at = '2099-01-01T00:00:00.000Z'");
  database.close();
  const { runs } = valueOf(await stedi('run', '--lake', lake, '--set', 'mlJoin=time', '--json'), runResultSchema);
  expect((await stedi('show', 'last', '--lake', lake)).stdout).toContain(`Run ${runs[0]}`);
  const latest = (await stedi('runs', '--limit', '1', '--lake', lake)).stdout;
  expect(latest).toMatch(new RegExp(`${runs[0]} .*\n\nThe latest 1; --limit shows more\n$`));
  expect(latest).not.toContain('2099');
  expect((await stedi('runs', '--limit', '2', '--lake', lake)).stdout).toMatch(/2099.*\n$/);
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
    const lock = await ProcessLock.acquire(lake, 'a test');
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

test('a run that was killed before it had planned anything is the latest run, with no end that anybody knows', async () => {
  const lake = newFolder();
  landAll(lake, walk(PEOPLE));
  await killedAt(lake, 'executions.start');
  const latest = async () => valueOf(await stedi('runs', '--limit', '1', '--lake', lake, '--json'), z.array(runRow));
  expect(await latest()).toMatchObject([{ status: 'ABORTED', files: null }]);
  const [{ runId = '' } = {}] = await latest();
  await stedi('run', '--lake', lake);
  const history = valueOf(await stedi('runs', '--lake', lake, '--json'), z.array(z.looseObject({ runId: z.string() })));
  expect(history.find((run) => run.runId === runId)).toMatchObject({ status: 'ABORTED', endedAt: null, seconds: null });
});

test('what has landed waits since it landed, whenever somebody asks', async () => {
  const lake = newFolder();
  landAll(lake, walk(PEOPLE));
  const landed = new Date('2026-01-02T03:04:05.000Z');
  utimesSync(path.join(lake, 'landing', 'customer_landing', 'people.json'), landed, landed);
  expect(valueOf(await stedi('files', '--lake', lake, '--json'), z.array(z.unknown()))).toContainEqual(
    expect.objectContaining({ key: 'customer_landing/people.json', state: 'pending', waitsSince: landed.toISOString() }),
  );
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
  expect(later.stdout).toMatch(/Nothing to do[\s\S]*3 files held earlier still wait for a person: "stedi files --state held"/);
  await stedi('retry', ...Object.keys(walk(PEOPLE)), '--lake', lake);
  expect((await stedi('run', '--lake', lake)).code).toBe(0);
});
