import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { LocalExecutions } from '../../local/executions.ts';
import type { Executing } from '../../local/executions.ts';
import { FolderLanding } from '../../local/landing.ts';
import { SqliteLedger } from '../../local/ledger.ts';
import { FolderRunFiles } from '../../local/runFiles.ts';
import { collected } from '../support/collected.ts';
import { temporaryFolders } from '../support/folders.ts';
import { landingContract, unversionedLandingContract } from './landing.ts';
import type { LandingBench } from './landing.ts';
import { ledgerContract } from './ledger.ts';
import { executionsContract, runFilesContract } from './others.ts';

const newFolder = temporaryFolders();
const now = () => new Date();
const databases: DatabaseSync[] = [];
afterEach(() => {
  for (const database of databases.splice(0)) database.close();
});

function newDatabase(file = path.join(newFolder(), 'ledger.sqlite')): DatabaseSync {
  const database = new DatabaseSync(file);
  database.exec('pragma journal_mode = wal; pragma synchronous = off');
  databases.push(database);
  return database;
}

ledgerContract('SQLite', async () => new SqliteLedger(newDatabase(), now));

test('two processes on one SQLite ledger see each other’s changes, and one of them gets the lock', async () => {
  const file = path.join(newFolder(), 'ledger.sqlite');
  const [one, other] = [new SqliteLedger(newDatabase(file), now), new SqliteLedger(newDatabase(file), now)];
  await one.register([
    { table: 'customer_landing', key: 'customer_landing/a', version: 'v1', size: 1, format: 'json', unknownFields: [] },
  ]);
  expect(await other.pending(10)).toHaveLength(1);
  expect(await one.takeLock('run-1')).toMatchObject({ runId: 'run-1' });
  expect(await other.takeLock('run-2')).toBeNull();
});

test('a SQLite ledger that lacks columns which came later goes on', async () => {
  const file = path.join(newFolder(), 'ledger.sqlite');
  await new SqliteLedger(newDatabase(file), now).register([
    { table: 'customer_landing', key: 'customer_landing/a', version: 'v1', size: 1, format: 'json', unknownFields: [] },
  ]);
  newDatabase(file).exec(`
    drop index if exists files_by_waiting;
    alter table files drop column retried_at;
    alter table memory drop column checking;
    alter table memory drop column checked;
    insert into memory values (1, null, null, 'customer_landing/a');`);
  const ledger = new SqliteLedger(newDatabase(file), now);
  const [found] = await ledger.pending(1);
  expect(found?.waitsSince).toBe(found?.arrivedAt);
  const memory = await ledger.memory();
  expect(memory).toEqual({ tried: null, listedTo: 'customer_landing/a', checking: null, checked: null });
  await ledger.remember({ ...memory, checked: '2026-01-02T03:04:05.000Z' });
  expect(await ledger.memory()).toMatchObject({ checked: '2026-01-02T03:04:05.000Z' });
});

test('a SQLite ledger forgets file versions that are pending, and no others', async () => {
  const ledger = new SqliteLedger(newDatabase(), now);
  const files = ['claimed', 'gone', 'held', 'stays'].map((name) => ({
    table: 'customer_landing' as const,
    key: `customer_landing/${name}`,
    version: 'v1',
    size: 1,
  }));
  await ledger.register(files.map((file) => ({ ...file, format: 'json', unknownFields: [] })));
  const lock = await ledger.takeLock('run-1');
  await ledger.claim('run-1', lock?.fence ?? 0, files.slice(0, 1));
  await ledger.hold(
    'run-1',
    lock?.fence ?? 0,
    files.slice(2, 3).map((file) => ({ file, why: 'broken' })),
  );
  ledger.forget(files.slice(0, 3));
  expect((await collected(ledger.files())).map(({ key, state }) => [key, state])).toEqual([
    ['customer_landing/claimed', 'claimed'],
    ['customer_landing/held', 'held'],
    ['customer_landing/stays', 'pending'],
  ]);
});

async function folderLanding(): Promise<LandingBench> {
  const landing = new FolderLanding(path.join(newFolder(), 'landing'));
  let clock = Date.now() / 1000 - 1_000_000;
  return {
    landing,
    put: async (key, content) => {
      const file = landing.pathOf(key);
      mkdirSync(path.dirname(file), { recursive: true });
      writeFileSync(file, content);
      clock += 1; // two writes of a test may be within one tick of a file system’s clock
      utimesSync(file, clock, clock);
    },
    remove: async (key) => rmSync(landing.pathOf(key)),
  };
}

test('a file that changed a moment ago is not listed yet, one from the future is: another clock wrote that', async () => {
  const landing = new FolderLanding(path.join(newFolder(), 'landing'), 60_000);
  const now = Date.now() / 1000;
  for (const [name, changed] of [
    ['future', now + 3600],
    ['growing', now],
    ['old', now - 3600],
  ] as const) {
    const file = landing.pathOf(`customer_landing/${name}`);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, '{}');
    utimesSync(file, changed, changed);
  }
  expect((await collected(landing.list())).flat().map(({ key }) => key)).toEqual([
    'customer_landing/future',
    'customer_landing/old',
  ]);
});

test('files behind a link to a folder are listed, each once, even where links lead in a circle', async () => {
  const landing = new FolderLanding(path.join(newFolder(), 'landing'));
  const elsewhere = newFolder();
  writeFileSync(path.join(elsewhere, 'there.json'), '{}');
  mkdirSync(landing.pathOf('customer_landing/own'), { recursive: true });
  writeFileSync(landing.pathOf('customer_landing/own/here.json'), '{}');
  symlinkSync(elsewhere, landing.pathOf('customer_landing/linked'));
  symlinkSync('..', landing.pathOf('customer_landing/own/up'));
  symlinkSync('.', landing.pathOf('customer_landing/own/self'));
  symlinkSync('gone', landing.pathOf('customer_landing/own/nowhere'));
  symlinkSync(landing.pathOf('customer_landing/linked'), path.join(elsewhere, 'back'));
  expect((await collected(landing.list())).flat().map(({ key }) => key)).toEqual([
    'customer_landing/linked/there.json',
    'customer_landing/own/here.json',
  ]);
});

test('files behind links that lead to each other’s folders are listed once on each way', async () => {
  const landing = new FolderLanding(path.join(newFolder(), 'landing'));
  for (const name of ['a', 'b']) mkdirSync(landing.pathOf(`customer_landing/${name}`), { recursive: true });
  writeFileSync(landing.pathOf('customer_landing/a/here.json'), '{}');
  symlinkSync('../b', landing.pathOf('customer_landing/a/other'));
  symlinkSync('../a', landing.pathOf('customer_landing/b/other'));
  expect((await collected(landing.list())).flat().map(({ key }) => key)).toEqual([
    'customer_landing/a/here.json',
    'customer_landing/b/other/here.json',
  ]);
});

test('a link to what is neither a file nor a folder is not listed', async () => {
  const landing = new FolderLanding(path.join(newFolder(), 'landing'));
  const pipe = path.join(newFolder(), 'pipe');
  execFileSync('mkfifo', [pipe]);
  mkdirSync(landing.pathOf('customer_landing'), { recursive: true });
  symlinkSync(pipe, landing.pathOf('customer_landing/pipe.json'));
  expect((await collected(landing.list())).flat()).toEqual([]);
});

landingContract('folder', folderLanding);
unversionedLandingContract('folder', folderLanding);

runFilesContract('folder', async () => new FolderRunFiles(newFolder()));

test('nothing half written stays in the folder of a run', async () => {
  const root = newFolder();
  const files = new FolderRunFiles(root);
  await files.write('run-1', 'metrics/customer_trusted.json', '{}');
  expect(readdirSync(path.join(root, 'run-1'), { recursive: true }).sort()).toEqual([
    'metrics',
    path.join('metrics', 'customer_trusted.json'),
  ]);
});

const newExecutions = (executing: Partial<Executing> = {}, database = newDatabase()): LocalExecutions =>
  new LocalExecutions(database, now, { execute: async () => undefined, onEnd: async () => undefined, ...executing });

executionsContract('this process', async () => {
  const executed: string[] = [];
  let failing: readonly string[] = [];
  const executions = newExecutions({
    execute: async (runId) => {
      executed.push(runId);
      if (failing.includes(runId)) throw new Error('it failed');
    },
  });
  return {
    executions,
    executed,
    finish: async (names = []) => {
      failing = names;
      await executions.drain();
    },
  };
});

describe('executions in this process', () => {
  test('that ran in a process that is gone are ABORTED, and stay so', async () => {
    const file = path.join(newFolder(), 'ledger.sqlite');
    const killed = newExecutions({}, newDatabase(file));
    await killed.start('run-1');
    const next = newExecutions({}, newDatabase(file));
    expect(await next.status('run-1')).toBe('ABORTED');
    expect(next.history()).toMatchObject([{ runId: 'run-1', status: 'ABORTED', error: 'the process was killed' }]);
    await next.start('run-1');
    await next.drain();
    expect(await next.status('run-1')).toBe('ABORTED');
  });

  test('run one after the other, those that the end of one starts included', async () => {
    const order: string[] = [];
    const executions = newExecutions({
      execute: async (runId) => {
        order.push(`start ${runId}`);
        await new Promise((resolve) => setImmediate(resolve));
        order.push(`end ${runId}`);
      },
      onEnd: async ({ runId }) => {
        if (runId === 'run-1') await executions.start('run-3');
      },
    });
    await executions.start('run-1');
    await executions.start('run-2');
    await Promise.all([executions.drain(), executions.drain()]);
    expect(order).toEqual(['run-1', 'run-2', 'run-3'].flatMap((runId) => [`start ${runId}`, `end ${runId}`]));
  });

  test('whose end can not be told are no success: what breaks then reaches whoever waits', async () => {
    const executions = newExecutions({ onEnd: async () => Promise.reject(new Error('the disk is full')) });
    await executions.start('run-1');
    await expect(executions.drain()).rejects.toThrow('the disk is full');
    expect(await executions.status('run-1')).toBe('SUCCEEDED');
  });

  test('tell how they ended, with the error that the state machine wraps', async () => {
    const ended: unknown[] = [];
    const executions = newExecutions({
      execute: async () => {
        throw Object.assign(new Error('wrapped'), {
          cause: Object.assign(new Error('3 of 40 expectations not met'), { name: 'GateFailedError' }),
        });
      },
      onEnd: async (end) => void ended.push(end),
    });
    await executions.start('run-1');
    await executions.drain();
    expect(ended).toEqual([{ runId: 'run-1', status: 'FAILED', error: 'GateFailedError: 3 of 40 expectations not met' }]);
    expect(executions.history()).toMatchObject([
      { runId: 'run-1', status: 'FAILED', error: 'GateFailedError: 3 of 40 expectations not met' },
    ]);
  });
});
