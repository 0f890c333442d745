import { copyFileSync, readdirSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { lakePaths } from '../../local/lakePaths.ts';
import { illnesses, killedAt, linkLanding, mixedFiles, runToTheEnd } from '../support/crashes.ts';
import { temporaryFolders } from '../support/folders.ts';
import { dump, landAll, Running, startStedi, STEDI, stedi } from '../support/lake.ts';
import { AT, CONSENT, customer, lines } from '../support/people.ts';

const KILL_AFTER_FILE = new URL('killAfterFile.ts', import.meta.url).href;
const OPEN_TABLES = fileURLToPath(new URL('openTables.ts', import.meta.url));
const newFolder = temporaryFolders();
const MINUTE = 60_000;
/** A DuckDB file begins with three headers; its blocks follow. */
const [HEADERS, BLOCK] = [3 * 4096, 256 * 1024];
const template = newFolder();
landAll(template, mixedFiles());

async function publishedLake(): Promise<string> {
  const lake = newFolder();
  linkLanding(template, lake);
  await runToTheEnd(lake);
  return lake;
}

function removeLedger(lake: string): void {
  for (const end of ['', '-wal', '-shm']) rmSync(`${lakePaths(lake).ledger}${end}`, { force: true });
}

/** Takes in one more file; everything else stays as it was. */
async function expectGoesOn(lake: string, before: Awaited<ReturnType<typeof dump>>): Promise<void> {
  landAll(lake, { 'customer_landing/new.json': lines(customer({ email: 'new@x.org', shares: CONSENT })) });
  await runToTheEnd(lake);
  const { loads, customer_staging, customer_trusted, ...rest } = await dump(lake);
  const { loads: loadsBefore, customer_staging: customers, customer_trusted: trusted, ...restBefore } = before;
  expect(rest).toEqual(restBefore);
  expect(loads.filter((load) => !load.includes('new.json'))).toEqual(loadsBefore);
  expect([loads.length, customer_staging.length, customer_trusted.length]).toEqual([
    loadsBefore.length + 1,
    customers.length + 1,
    trusted.length + 1,
  ]);
  expect(await illnesses(lake)).toEqual([]);
}

test(
  'the ledger is lost: every file is registered again, and none is staged twice',
  async () => {
    const lake = await publishedLake();
    const before = await dump(lake);
    removeLedger(lake);
    await runToTheEnd(lake);
    expect(await dump(lake)).toEqual(before);
    expect(await illnesses(lake)).toEqual([]);
    await expectGoesOn(lake, before);
  },
  MINUTE,
);

test(
  'the ledger is lost, and a new file has arrived',
  async () => {
    const lake = await publishedLake();
    const before = await dump(lake);
    removeLedger(lake);
    await expectGoesOn(lake, before);
  },
  MINUTE,
);

test(
  'the folders of the runs are lost',
  async () => {
    const lake = await publishedLake();
    const before = await dump(lake);
    rmSync(lakePaths(lake).runs, { recursive: true });
    await runToTheEnd(lake);
    expect(await dump(lake)).toEqual(before);
    await expectGoesOn(lake, before);
  },
  MINUTE,
);

function loseRuns(lake: string): void {
  rmSync(lakePaths(lake).runs, { recursive: true });
}

/** As files look that the disk had not yet written when the power failed. */
function emptyRuns(lake: string): void {
  const { runs } = lakePaths(lake);
  const entries = readdirSync(runs, { recursive: true, withFileTypes: true });
  for (const entry of entries) if (entry.isFile()) truncateSync(path.join(entry.parentPath, entry.name));
}

const DAMAGE = { lost: loseRuns, empty: emptyRuns };
const POINTS = ['ledger.claim', 'runFiles.write validation.json', 'log run_published', 'ledger.settle'];

test.each([...POINTS.map((point) => ['lost', point] as const), ...POINTS.slice(1).map((point) => ['empty', point] as const)])(
  'the files of the runs are %s after a kill at %s',
  async (damage, point) => {
    const lake = newFolder();
    linkLanding(template, lake);
    await killedAt(lake, point);
    DAMAGE[damage](lake);
    await runToTheEnd(lake);
    const whole = await publishedLake();
    expect(await dump(lake)).toEqual(await dump(whole));
    expect(await illnesses(lake)).toEqual([]);
    await expectGoesOn(lake, await dump(lake));
  },
  MINUTE,
);

test.each(['lost', 'empty'] as const)(
  'commands that look at runs go on when the files of the runs are %s',
  async (damage) => {
    const lake = await publishedLake();
    DAMAGE[damage](lake);
    for (const command of ['runs', 'files', 'rejects', 'check']) {
      const { code, stderr } = await stedi(command, '--lake', lake);
      expect({ command, code, stderr }).toEqual({ command, code: 0, stderr: '' });
    }
  },
  MINUTE,
);

test(
  'rejects that a run was writing when it was killed do not stand in the way of the others',
  async () => {
    const lake = newFolder();
    linkLanding(template, lake);
    await killedAt(lake, 'log table_staged customer_landing');
    const written = readdirSync(lakePaths(lake).runs, { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.ndjson.gz'),
    );
    expect(written).toHaveLength(1);
    for (const name of written) {
      const file = path.join(lakePaths(lake).runs, name);
      truncateSync(file, statSync(file).size - 10);
      renameSync(file, `${file}.part`);
    }
    await runToTheEnd(lake);
    const { code, stdout, stderr } = await stedi('rejects', '--lake', lake, '--json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(z.array(z.unknown()).parse(JSON.parse(stdout))).toHaveLength((await dump(lake)).rejected.length);
  },
  MINUTE,
);

test('rejects that are damaged leave JSON that can be read, with those that came before', async () => {
  const lake = newFolder();
  const records = Array.from({ length: 20_000 }, (_, at) => String(Math.sin(at)));
  landAll(lake, { 'customer_landing/numbers.csv': lines(...records) });
  await runToTheEnd(lake);
  const [name = ''] = readdirSync(lakePaths(lake).runs, { recursive: true, encoding: 'utf8' }).filter((each) =>
    each.endsWith('.gz'),
  );
  const file = path.join(lakePaths(lake).runs, name);
  truncateSync(file, Math.floor(statSync(file).size / 2));
  const { code, stdout, stderr } = await stedi('rejects', '--lake', lake, '--json');
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(`${name} is damaged`) as unknown });
  const shown = z.array(z.unknown()).parse(JSON.parse(stdout));
  expect(shown.length).toBeGreaterThan(100);
  expect(shown.length).toBeLessThan(records.length);
});

/** How many blocks of 1 KB DuckDB may write of a new tables file, which has twelve, before its process fails. */
test.each([0, 4, 8])(
  'a tables file of which %i KB were made does not stand in the way',
  async (size) => {
    const lake = newFolder();
    linkLanding(template, lake);
    const open = ['-c', `ulimit -f ${size}; exec "$@"`, 'bash', process.execPath, OPEN_TABLES, lakePaths(lake).tables];
    expect((await new Running('bash', open).ended).code).not.toBe(0);
    await runToTheEnd(lake);
    expect(await illnesses(lake)).toEqual([]);
    expect(readdirSync(lake).filter((name) => name.startsWith('lakehouse'))).toEqual(['lakehouse.duckdb']);
  },
  MINUTE,
);

test(
  'tables and ledger are lost: landing has everything',
  async () => {
    const lake = await publishedLake();
    const before = await dump(lake);
    rmSync(lakePaths(lake).tables);
    removeLedger(lake);
    await runToTheEnd(lake);
    expect(await dump(lake)).toEqual(before);
  },
  MINUTE,
);

/** A lake that has moved on since one of its files was copied, and now has the copy back. */
async function withOlderCopy(lake: string, file: string, goOn: () => Promise<void>) {
  const copy = path.join(newFolder(), 'copy');
  copyFileSync(file, copy);
  await goOn();
  const tables = await dump(lake);
  for (const end of ['-wal', '-shm', '.wal']) rmSync(`${file}${end}`, { force: true });
  copyFileSync(copy, file);
  return tables;
}

async function takeOneFileMore(lake: string): Promise<void> {
  landAll(lake, { 'customer_landing/later.json': lines(customer({ email: 'later@x.org', shares: CONSENT })) });
  await runToTheEnd(lake);
}

async function rebuildAndReplace(lake: string): Promise<void> {
  const { code } = await stedi('rebuild', '--replace', '--lake', lake, '--set', 'maxRejectRatio=1');
  expect(code).toBe(0);
}

test(
  'an older copy of the ledger learns from the lake what was loaded since',
  async () => {
    const lake = await publishedLake();
    const tables = await withOlderCopy(lake, lakePaths(lake).ledger, () => takeOneFileMore(lake));
    await runToTheEnd(lake);
    expect(await dump(lake)).toEqual(tables);
    expect(await illnesses(lake)).toEqual([]);
    await expectGoesOn(lake, tables);
  },
  MINUTE,
);

/** `rebuild --replace`, killed after what the point names: see test/faults/killAfterFile.ts. */
async function killReplacement(lake: string, point: string, ...settings: string[]): Promise<void> {
  const args = ['--import', KILL_AFTER_FILE, STEDI, 'rebuild', '--replace', '--lake', lake, ...settings];
  const killed = await new Running(process.execPath, args, { env: { ...process.env, KILL_AFTER: point } }).ended;
  expect(killed).toMatchObject({ signal: 'SIGKILL' });
}

test.each(['writeFileSync replacing', 'renameSync run-', 'renameSync lakehouse.duckdb', 'rmSync rebuild'])(
  'a rebuild that replaces the tables is killed after %s',
  async (point) => {
    const lake = await publishedLake();
    await takeOneFileMore(lake);
    const { customer_staging, machine_learning_curated } = await dump(lake);
    await killReplacement(lake, point, '--set', 'maxRejectRatio=1');
    await runToTheEnd(lake);
    const tables = await dump(lake);
    expect(tables).toMatchObject({ customer_staging, machine_learning_curated });
    expect(await illnesses(lake)).toEqual([]);
    await expectGoesOn(lake, tables);
  },
  MINUTE,
);

test.each(['writeFileSync replacing', 'renameSync lakehouse.duckdb'])(
  'a rebuild that replaces the tables is killed after %s, and watch comes next: what it publishes stays',
  async (point) => {
    const lake = await publishedLake();
    const before = await dump(lake);
    await killReplacement(lake, point, '--set', 'maxRejectRatio=1');
    const watch = startStedi(['watch', '--lake', lake, '--set', 'maxRejectRatio=1', '--set', 'settleSeconds=0']);
    try {
      await watch.says(/Watching .*Ctrl-C stops it/);
      landAll(lake, { 'customer_landing/later.json': lines(customer({ email: 'later@x.org', shares: CONSENT })) });
      await watch.says(/SUCCEEDED/);
    } finally {
      await watch.stop('SIGINT');
    }
    const tables = await dump(lake);
    expect(tables.loads).toHaveLength(before.loads.length + 1);
    expect(await illnesses(lake)).toEqual([]);
    expect(await dump(lake)).toEqual(tables);
  },
  MINUTE,
);

test(
  'a rebuild that replaces the tables is killed, and retry comes next: what it gives back stays so',
  async () => {
    const lake = newFolder();
    const strict = ['--set', 'minRecordsForRatio=1'];
    landAll(lake, {
      'customer_landing/good.json': lines(customer({ email: 'ann@x.org' })),
      'customer_landing/rubbish.json': 'rubbish\n',
    });
    expect((await stedi('run', '--lake', lake, ...strict)).code).toBe(1);
    await killReplacement(lake, 'writeFileSync replacing', ...strict);
    expect((await stedi('retry', 'customer_landing/rubbish.json', '--lake', lake)).code).toBe(0);
    await runToTheEnd(lake);
    expect((await dump(lake)).loads).toHaveLength(2);
    expect(await illnesses(lake)).toEqual([]);
  },
  MINUTE,
);

test(
  'an older copy of the tables: check says so, and rebuild --replace brings back what is missing',
  async () => {
    const lake = await publishedLake();
    const tables = await withOlderCopy(lake, lakePaths(lake).tables, () => takeOneFileMore(lake));
    expect(await illnesses(lake)).not.toEqual([]);
    await rebuildAndReplace(lake);
    expect({ ...(await dump(lake)), loads: null }).toEqual({ ...tables, loads: null });
    expect(await illnesses(lake)).toEqual([]);
    await expectGoesOn(lake, await dump(lake));
  },
  MINUTE,
);

describe('the tables file of a lake that has published is lost', () => {
  const losses: [string, (tables: string) => void][] = [
    ['it is gone', (tables) => rmSync(tables)],
    ['it is no database', (tables) => writeFileSync(tables, 'rubbish '.repeat(1000))],
    ['it is cut short', (tables) => truncateSync(tables, statSync(tables).size / 2)],
    ['it is empty', (tables) => truncateSync(tables, 0)],
  ];
  test.each(losses)(
    '%s: no run builds tables from what is new alone, and rebuild --replace brings all of them back',
    async (_how, lose) => {
      const lake = await publishedLake();
      await takeOneFileMore(lake);
      const before = { ...(await dump(lake)), loads: null };
      lose(lakePaths(lake).tables);
      landAll(lake, { 'customer_landing/new.json': lines(customer({ email: 'ann@x.org', updated: AT })) }); // like one already staged
      expect(await illnesses(lake)).toEqual([
        expect.stringMatching(/the tables are there.*lakehouse\.duckdb.*rebuild --replace/),
      ]);
      const settings = ['--set', 'maxRejectRatio=1'];
      for (const command of [
        ['run', ...settings],
        ['watch', ...settings],
        ['query', 'from loads'],
      ]) {
        const { code, stderr } = await stedi(...command, '--lake', lake);
        expect({ command, code }).toEqual({ command, code: 1 });
        expect(stderr).toMatch(/lakehouse\.duckdb.*"stedi rebuild --replace"/);
      }
      expect((await stedi('rebuild', '--lake', lake, ...settings)).code).toBe(1);
      await rebuildAndReplace(lake);
      expect({ ...(await dump(lake)), loads: null }).toEqual(before);
      expect(await illnesses(lake)).toEqual([]);
      await runToTheEnd(lake);
    },
    MINUTE,
  );

  test(
    'every other of its blocks is damaged, one at a time: check says so, and rebuild --replace brings all tables back',
    async () => {
      const source = newFolder();
      await stedi('generate', '--out', source, '--customers', '20');
      const whole = newFolder();
      await stedi('run', source, '--lake', whole);
      const before = await dump(whole);
      const { size } = statSync(lakePaths(whole).tables);
      const blocks = Array.from({ length: Math.ceil((size - HEADERS) / (2 * BLOCK)) }, (_, at) => HEADERS + at * 2 * BLOCK);
      let damaged = 0;
      for (const block of blocks) {
        const lake = newFolder();
        linkLanding(whole, lake);
        for (const name of ['ledger', 'tables'] as const) copyFileSync(lakePaths(whole)[name], lakePaths(lake)[name]);
        const bytes = readFileSync(lakePaths(lake).tables);
        writeFileSync(lakePaths(lake).tables, bytes.fill('damage', block, block + BLOCK));
        const ill = await illnesses(lake);
        if (ill.length > 0) {
          expect(ill).toEqual([
            expect.stringMatching(/the tables are there.*lakehouse\.duckdb (is damaged|can't be opened).*rebuild --replace/),
          ]);
          await rebuildAndReplace(lake);
          damaged += 1;
        } // else the block is a free one
        expect(await dump(lake)).toEqual(before);
      }
      expect(damaged).toBeGreaterThan(2);
    },
    2 * MINUTE,
  );

  test(
    'while a run is half done, which nobody can finish any more',
    async () => {
      const lake = await publishedLake();
      landAll(lake, { 'customer_landing/later.json': lines(customer({ email: 'later@x.org', shares: CONSENT })) });
      await killedAt(lake, 'log table_staged customer_landing');
      expect((await stedi('rebuild', '--lake', lake)).stderr).toMatch(/half done; "stedi run" finishes it/);
      rmSync(lakePaths(lake).tables);
      await rebuildAndReplace(lake);
      expect((await dump(lake)).customer_staging).toContainEqual(expect.stringContaining('later@x.org'));
      expect(await illnesses(lake)).toEqual([]);
      await expectGoesOn(lake, await dump(lake));
    },
    MINUTE,
  );
});

test(
  'the ledger is damaged: the message names it, and without it everything is registered again',
  async () => {
    const lake = await publishedLake();
    const before = await dump(lake);
    removeLedger(lake);
    writeFileSync(lakePaths(lake).ledger, 'rubbish '.repeat(1000));
    const { code, stderr } = await stedi('run', '--lake', lake);
    expect(code).toBe(1);
    expect(stderr).toMatch(/ledger\.sqlite is damaged.*Move it away.*"stedi run"/);
    removeLedger(lake);
    await runToTheEnd(lake);
    expect(await dump(lake)).toEqual(before);
  },
  MINUTE,
);

/** Commits to the tables of a lake and dies before the commit reaches the file itself. */
const COMMITS_AND_DIES = `
import { DuckDBInstance } from '@duckdb/node-api';
const instance = await DuckDBInstance.create(process.argv[1]);
const connection = await instance.connect();
await connection.run("set checkpoint_threshold = '1TB'");
await connection.run('delete from customer_trusted');
process.kill(process.pid, 'SIGKILL');`;

async function commitAndDie(tables: string): Promise<void> {
  const dead = await new Running(process.execPath, ['--input-type=module', '-e', COMMITS_AND_DIES, tables]).ended;
  expect(dead).toMatchObject({ signal: 'SIGKILL' });
}

test(
  'a torn write-ahead log beside the tables is no part of them',
  async () => {
    const lake = await publishedLake();
    const before = await dump(lake);
    const { tables } = lakePaths(lake);
    await commitAndDie(tables);
    const log = `${tables}.wal`;
    truncateSync(log, statSync(log).size - 5);
    await runToTheEnd(lake);
    expect(await dump(lake)).toEqual(before);
    await expectGoesOn(lake, before);
  },
  MINUTE,
);

test(
  'what stands in the write-ahead log of lost tables does not get into those that are made anew',
  async () => {
    const lake = await publishedLake();
    const before = await dump(lake);
    const { tables } = lakePaths(lake);
    await commitAndDie(tables);
    rmSync(tables);
    removeLedger(lake);
    await runToTheEnd(lake);
    expect(await dump(lake)).toEqual(before);
    expect(await illnesses(lake)).toEqual([]);
  },
  MINUTE,
);

/** Tables that can be opened absorb their log before a rebuild compares with them. */
test.each<[string, (tables: string) => void]>([
  ['gone', (tables) => rmSync(tables)],
  ['no database', (tables) => writeFileSync(tables, 'rubbish '.repeat(1000))],
])(
  'what stands in the write-ahead log of replaced tables, which are %s, does not get into the new ones',
  async (_how, lose) => {
    const lake = await publishedLake();
    const before = await dump(lake);
    const { tables } = lakePaths(lake);
    await commitAndDie(tables);
    lose(tables);
    await rebuildAndReplace(lake);
    expect(await dump(lake)).toEqual(before);
    expect(await illnesses(lake)).toEqual([]);
    await expectGoesOn(lake, before);
  },
  MINUTE,
);
