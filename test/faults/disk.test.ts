import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { openSession } from '../../local/duckdb/session.ts';
import { generate } from '../../local/generate.ts';
import { lakePaths } from '../../local/lakePaths.ts';
import { ProcessLock } from '../../local/processLock.ts';
import { illnesses, linkLanding, runToTheEnd } from '../support/crashes.ts';
import { temporaryFolders } from '../support/folders.ts';
import { dump, fingerprint, landAll, startStedi, STEDI, stedi } from '../support/lake.ts';
import type { Ended } from '../support/lake.ts';
import { CONSENT, customer, lines, walk } from '../support/people.ts';

const newFolder = temporaryFolders();
const MINUTE = 60_000;
const ANN = walk([{ email: 'ann@x.org', shares: CONSENT }]);
const BEN = { 'customer_landing/ben.json': lines(customer({ email: 'ben@x.org', shares: CONSENT })) };

/** A clear error: the exit code, the lake named, no stack trace. */
function expectClearError({ code, stdout, stderr }: Ended, lake: string, expected = 1): void {
  expect(`${stdout}${stderr}`).toContain(lake);
  expect(`${stdout}${stderr}`).not.toMatch(/^\s+at |STEDI_DEBUG/m);
  expect(code).toBe(expected);
}

async function publishedLake(lake = newFolder()): Promise<string> {
  landAll(lake, ANN);
  await runToTheEnd(lake);
  return lake;
}

describe('a lake that another process holds', () => {
  test(
    'a second process is told who holds it, and loses nothing',
    async () => {
      const lake = await publishedLake();
      const lock = await ProcessLock.acquire(lake, 'a test');
      const source = newFolder();
      writeFileSync(path.join(source, 'customer-ben.json'), lines(customer({ email: 'ben@x.org', shares: CONSENT })));
      try {
        for (const args of [['run', source], ['check'], ['rebuild', '--replace']]) {
          const refused = await stedi(...args, '--lake', lake);
          expectClearError(refused, lake, 75);
          expect(refused.stderr).toContain(`process ${process.pid} (a test, since `);
        }
        for (const args of [['runs'], ['files'], ['show', 'last'], ['rejects'], ['query', 'select 1']])
          expect((await stedi(...args, '--lake', lake)).code).toBe(0);
      } finally {
        lock.release();
      }
      await runToTheEnd(lake);
      expect((await dump(lake)).customer_trusted).toHaveLength(2);
    },
    MINUTE,
  );

  test(
    'a run waits a while for a process that has the tables open, and then gives up and says which',
    async () => {
      const lake = await publishedLake();
      const open = await openSession(lakePaths(lake).tables, newFolder(), { readOnly: true });
      try {
        const refused = await stedi('run', '--lake', lake, '--set', 'mlJoin=time');
        expectClearError(refused, lake, 75);
        expect(refused.stderr).toContain(`is open in process ${process.pid}`);
      } finally {
        open.close();
      }
      await runToTheEnd(lake);
    },
    MINUTE,
  );

  test(
    'two runs at once: one works, the other is told; after one more run everything is there',
    async () => {
      const lake = newFolder();
      await generate({ out: lakePaths(lake).landing, customers: 500 });
      const ended = await Promise.all([stedi('run', '--lake', lake), stedi('run', '--lake', lake)]);
      expect(ended.map(({ code }) => code).sort()).toEqual([0, 75]);
      const [refused] = ended.filter(({ code }) => code === 75);
      expect(refused?.stderr).toMatch(/is in use by process \d+ \(stedi run, since /);
      await runToTheEnd(lake);
      const alone = newFolder();
      linkLanding(lake, alone);
      await runToTheEnd(alone);
      expect(await fingerprint(lake)).toEqual(await fingerprint(alone));
    },
    MINUTE,
  );
});

const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;

/** Permissions do not bind root, and another user may not be able to read the project. */
const canBeUser =
  !isRoot ||
  spawnSync(process.execPath, ['-e', `require('node:fs').accessSync(${JSON.stringify(STEDI)})`], { uid: NOBODY }).status === 0;
if (!canBeUser) console.warn(`User ${NOBODY} can't read ${STEDI}: LAKES THAT CAN'T BE WRITTEN ARE NOT TESTED HERE`);

/** Runs `stedi` as a user to whom permissions apply. */
async function stediAsUser(...args: string[]): Promise<Ended> {
  return startStedi(args, isRoot ? { uid: NOBODY } : {}).ended;
}

function ownedByUser(lake: string): void {
  if (!isRoot) return;
  chownSync(lake, NOBODY, NOBODY);
  for (const name of readdirSync(lake, { recursive: true, encoding: 'utf8' })) chownSync(path.join(lake, name), NOBODY, NOBODY);
}

(canBeUser ? describe : describe.skip)('a lake that cannot be written', () => {
  const forbid: [string, (lake: string) => string[]][] = [
    [
      'the whole lake',
      (lake) => [lake, ...readdirSync(lake, { recursive: true, encoding: 'utf8' }).map((name) => path.join(lake, name))],
    ],
    ['its folder', (lake) => [lake]],
    ['the tables', (lake) => [lakePaths(lake).tables]],
    ['the ledger', (lake) => [lakePaths(lake).ledger]],
    ['the folder of the runs', (lake) => [lakePaths(lake).runs]],
  ];

  test.each(forbid)(
    '%s: a clear error, the lake as it was, and all is well once it can be written',
    async (_what, pathsOf) => {
      const lake = await publishedLake();
      const before = await dump(lake);
      landAll(lake, BEN);
      ownedByUser(lake);
      const forbidden = pathsOf(lake);
      for (const each of forbidden) chmodSync(each, 0o555);
      expectClearError(await stediAsUser('run', '--lake', lake), lake);
      expect(await dump(lake)).toEqual(before);
      spawnSync('chmod', ['-R', '755', lake]); // SQLite gives the files beside the ledger the permissions of the ledger
      expect(await stediAsUser('run', '--lake', lake)).toMatchObject({ code: 0 });
      expect((await dump(lake)).customer_trusted).toHaveLength(2);
      expect(await illnesses(lake)).toEqual([]);
    },
    MINUTE,
  );

  test(
    'answers queries, also of gzip files in landing',
    async () => {
      const lake = await publishedLake();
      landAll(lake, { 'customer_landing/packed.json.gz': gzipSync(lines(customer({ email: 'zoe@x.org' }))) });
      ownedByUser(lake);
      chmodSync(lake, 0o555);
      const { code, stdout } = await stediAsUser('query', 'select email from customer_landing', '--lake', lake);
      expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringContaining('zoe@x.org') as unknown });
    },
    MINUTE,
  );

  test(
    'a folder in which no lake can be made',
    async () => {
      const folder = newFolder();
      chmodSync(folder, 0o555);
      const lake = path.join(folder, 'lake');
      expectClearError(await stediAsUser('run', '--lake', lake), lake, 2);
      const source = await publishedLake();
      ownedByUser(source);
      expectClearError(await stediAsUser('run', path.join(source, 'landing'), '--lake', lake), lake);
      expect(existsSync(lake)).toBe(false);
    },
    MINUTE,
  );

  test(
    'another place that cannot be read or written is named, and not the lake',
    async () => {
      const lake = await publishedLake();
      landAll(lake, { 'customer_landing/odd.json': 'rubbish\n' });
      ownedByUser(lake);
      await stediAsUser('run', '--lake', lake);
      const folder = newFolder();
      const source = path.join(folder, 'customers.json');
      writeFileSync(source, '{}');
      chmodSync(source, 0o000);
      chmodSync(folder, 0o555);
      const elsewhere = path.join(folder, 'out');
      const commands = [
        ['run', source],
        ['drop', 'customer_landing', source],
        ['generate', '--out', elsewhere],
        ['rejects', '--export', elsewhere],
      ];
      for (const command of commands) {
        const { code, stderr } = await stediAsUser(...command, '--lake', lake);
        expect({ command, code }).toEqual({ command, code: 1 });
        expect(stderr).toMatch(new RegExp(`^${folder}\\S* can't be read or written: EACCES`));
        expect(stderr).not.toMatch(/^\s+at |The lake/m);
      }
    },
    MINUTE,
  );

  test(
    'a landing file that cannot be read is named, and the others are taken',
    async () => {
      const lake = newFolder();
      landAll(lake, { ...ANN, ...BEN });
      ownedByUser(lake);
      const secret = path.join(lakePaths(lake).landing, 'customer_landing/ben.json');
      chmodSync(secret, 0o000);
      const { code, stdout, stderr } = await stediAsUser('run', '--lake', lake);
      expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
      expect(stdout.match(/.*ben\.json.*/g)).toEqual([expect.stringContaining('  customer_landing/ben.json: EACCES')]);
      expect(stdout).toMatch(/Can't be read; fix the name or the permissions, then "stedi run":/);
      expect(stdout).not.toMatch(/held/i);
      expect((await dump(lake)).customer_trusted).toHaveLength(1);
      const asked = await stediAsUser('query', 'select count(*) as landed from customer_landing', '--lake', lake, '--json');
      expect(asked.stderr).toContain('ben.json');
      expect(JSON.parse(asked.stdout)).toEqual([{ landed: 1 }]);
      const rebuilt = await stediAsUser('rebuild', '--replace', '--lake', lake);
      expect(rebuilt.code).toBe(1);
      expect(rebuilt.stdout).toMatch(
        /match what the other files give[\s\S]*Not read:\n {2}customer_landing\/ben\.json[\s\S]*Replaced/,
      );
      chmodSync(secret, 0o644);
      expect(await stediAsUser('run', '--lake', lake)).toMatchObject({ code: 0 });
      expect((await dump(lake)).customer_trusted).toHaveLength(2);

      // What was loaded before it became unreadable stays.
      chmodSync(secret, 0o000);
      const poorer = await stediAsUser('rebuild', '--replace', '--lake', lake);
      expect(poorer.code).toBe(1);
      expect(poorer.stdout).toMatch(/Not read:\n {2}customer_landing\/ben\.json[\s\S]*Nothing was replaced: the lake has loaded/);
      expect((await dump(lake)).customer_trusted).toHaveLength(2);
    },
    MINUTE,
  );
});

/** Whatever is in landing is there as it is in the source. */
function expectWholeCopies(landing: string, source: string): void {
  for (const entry of readdirSync(landing, { recursive: true, withFileTypes: true }).filter((each) => each.isFile())) {
    const key = path.relative(landing, path.join(entry.parentPath, entry.name));
    expect([key, readFileSync(path.join(landing, key)).equals(readFileSync(path.join(source, key)))]).toEqual([key, true]);
  }
}

/** A file system of this size, or null if none can be mounted. */
function smallDisk(megabytes: number): string | null {
  const folder = newFolder();
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder]);
  return status === 0 ? folder : null;
}

describe('a full disk', () => {
  const disks: string[] = [];
  afterAll(() => disks.forEach((disk) => spawnSync('umount', [disk])));
  const probe = smallDisk(1);
  if (probe !== null) spawnSync('umount', [probe]);
  else console.warn('A small file system can only be mounted by root: FULL DISKS ARE NOT TESTED HERE');
  (probe === null ? test.skip : test).each([0, 100, 400, 1_500, 3_000])(
    '%i KB left: a clear error, the lake as it was, and all is well once there is space',
    async (kilobytes) => {
      const disk = smallDisk(40);
      if (disk === null) throw new Error('no small disk could be mounted');
      disks.push(disk);
      const lake = path.join(disk, 'lake');
      mkdirSync(lake);
      await publishedLake(lake);
      const before = await dump(lake);
      const more = newFolder();
      await generate({ out: more, customers: 956 });
      const landing = lakePaths(lake).landing;
      for (const table of readdirSync(more)) {
        for (const name of readdirSync(path.join(more, table)))
          spawnSync('cp', [path.join(more, table, name), path.join(landing, table, `more-${name}`)]);
      }
      const ballast = path.join(disk, 'ballast');
      const { bavail, bsize } = statfsSync(disk);
      writeFileSync(ballast, Buffer.alloc(Math.max(0, bavail * bsize - kilobytes * 1024)));

      expectClearError(await stedi('run', '--lake', lake), lake);
      expect(await dump(lake)).toEqual(before);
      rmSync(ballast);
      const ended = await stedi('run', '--lake', lake);
      expect({ code: ended.code, said: ended.code === 0 ? '' : ended.stdout + ended.stderr }).toEqual({ code: 0, said: '' });
      expect((await fingerprint(lake))['machine_learning_curated']).toMatch(/^40982 rows/);
      expect(await illnesses(lake)).toEqual([]);
    },
    MINUTE,
  );

  (probe === null ? test.skip : test)(
    'run SOURCE does not leave half a file in landing',
    async () => {
      const disk = smallDisk(6);
      if (disk === null) throw new Error('no small disk could be mounted');
      disks.push(disk);
      const lake = path.join(disk, 'lake');
      const source = newFolder();
      await generate({ out: source, customers: 956 });
      expectClearError(await stedi('run', source, '--lake', lake), lake);
      expectWholeCopies(lakePaths(lake).landing, source);
    },
    MINUTE,
  );
});
