import { appendFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { z } from 'zod';
import { files } from '../../local/commands/files.ts';
import { runs } from '../../local/commands/history.ts';
import { Arrivals, work } from '../../local/commands/watch.ts';
import { openSession } from '../../local/duckdb/session.ts';
import { lakePaths } from '../../local/lakePaths.ts';
import type { LocalHome } from '../../local/home.ts';
import { ProcessLock } from '../../local/processLock.ts';
import { illnesses, killedAt } from '../support/crashes.ts';
import { temporaryFolders } from '../support/folders.ts';
import { call, dump, landAll, runResultSchema, startStedi, stedi, until } from '../support/lake.ts';
import type { Running } from '../support/lake.ts';
import { land, settingsWith, temporaryLakes } from '../support/lakes.ts';
import { AT, CONSENT, customer, lines, motion, walk } from '../support/people.ts';

const newFolder = temporaryFolders();
const newLake = temporaryLakes();
const MINUTE = 60_000;
const watches: Running[] = [];
afterEach(async () => {
  for (const watch of watches.splice(0)) await watch.stop('SIGKILL');
});

async function watching(lake: string, ...args: string[]): Promise<Running> {
  const watch = startStedi(['watch', '--lake', lake, '--set', 'settleSeconds=1', ...args]);
  watches.push(watch);
  await watch.says(/Watching .*Ctrl-C stops it/);
  return watch;
}

test('where the system can watch nothing more, watch says so once and lists', async () => {
  const lake = newFolder();
  landAll(lake, { 'customer_landing/early.json': lines(customer({ email: 'early@x.org', shares: CONSENT })) });
  const env = { ...process.env, NODE_OPTIONS: `--import ${new URL('noWatches.ts', import.meta.url).href}` };
  const watch = startStedi(['watch', '--lake', lake, '--set', 'settleSeconds=1'], { env });
  watches.push(watch);
  await loaded(lake, 1);
  landAll(lake, { 'customer_landing/late.json': lines(customer({ email: 'late@x.org', shares: CONSENT })) });
  await loaded(lake, 2);
  expect(watch.stdout.match(/Not everything can be watched: ENOSPC.* listed every 10 s/g)).toHaveLength(1);
  await endsWell(watch);
});

async function loadedFiles(lake: string): Promise<string[]> {
  const { value } = await call({ lake }, (context) => files(context, 'loaded'));
  return z
    .array(z.looseObject({ key: z.string() }))
    .parse(value)
    .map(({ key }) => key);
}

async function loaded(lake: string, number: number): Promise<void> {
  await until(`${number} files are loaded`, async () => (await loadedFiles(lake)).length >= number, 90);
}

async function runsOf(lake: string): Promise<number> {
  return z.array(z.unknown()).parse((await call({ lake }, (context) => runs(context, 100))).value).length;
}

async function endsWell(watch: Running): Promise<void> {
  const { code, stderr } = await watch.stop('SIGINT');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
}

test(
  '2,000 small files dropped at once: few runs, none lost',
  async () => {
    const lake = newFolder();
    const watch = await watching(lake);
    const number = 2_000;
    landAll(
      lake,
      Object.fromEntries(
        Array.from({ length: number }, (_, at) =>
          at % 2 === 0
            ? [`customer_landing/customer-${at}.json`, lines(customer({ email: `p${at}@x.org`, shares: CONSENT }))]
            : [`accelerometer_landing/motion-${at}.json`, lines(motion(`p${at - 1}@x.org`, AT + at))],
        ),
      ),
    );
    await loaded(lake, number);
    await endsWell(watch);
    expect(await runsOf(lake)).toBeLessThanOrEqual(5);
    const { loads, customer_staging, customers_curated, accelerometer_trusted } = await dump(lake);
    expect(loads).toHaveLength(number);
    expect([customer_staging.length, customers_curated.length, accelerometer_trusted.length]).toEqual([1_000, 1_000, 1_000]);
    expect(await illnesses(lake)).toEqual([]);
  },
  3 * MINUTE,
);

test(
  'files keep coming while runs go on: none lost',
  async () => {
    const lake = newFolder();
    const watch = await watching(lake, '--set', 'settleSeconds=0');
    const number = 120;
    for (let at = 0; at < number; at += 1) {
      landAll(lake, { [`customer_landing/c-${at}.json`]: lines(customer({ email: `p${at}@x.org` })) });
      await wait(25);
    }
    await loaded(lake, number);
    await endsWell(watch);
    expect((await dump(lake)).customer_staging).toHaveLength(number);
    expect(await illnesses(lake)).toEqual([]);
  },
  3 * MINUTE,
);

/** Appends records to a file bit by bit, each cut in the middle; a run has time to begin and end in between. */
async function grow(file: string, records: readonly string[]): Promise<void> {
  for (const record of records) {
    const middle = Math.floor(record.length / 2);
    appendFileSync(file, record.slice(0, middle));
    await wait(350);
    appendFileSync(file, `${record.slice(middle)}\n`);
    await wait(350);
  }
}

const GROWING = Array.from({ length: 6 }, (_, at) => motion('ann@x.org', AT + at));

test(
  'a file that grows while it is watched is taken once it is finished',
  async () => {
    const lake = newFolder();
    const watch = await watching(lake, '--set', 'settleSeconds=0');
    const file = path.join(lakePaths(lake).landing, 'accelerometer_landing', 'growing.json');
    await grow(file, GROWING);
    await loaded(lake, 1);
    await endsWell(watch);
    const { loads, rejected, accelerometer_staging } = await dump(lake);
    expect([loads.length, rejected.length, accelerometer_staging.length]).toEqual([1, 0, GROWING.length]);
  },
  MINUTE,
);

test(
  'a file that grows when watch starts is taken once it is finished',
  async () => {
    const lake = newFolder();
    landAll(lake, { ...walk([{ email: 'ann@x.org' }]), 'accelerometer_landing/growing.json': '' });
    const file = path.join(lakePaths(lake).landing, 'accelerometer_landing', 'growing.json');
    const growing = grow(file, GROWING);
    const watch = await watching(lake, '--set', 'settleSeconds=0');
    await growing;
    await loaded(lake, 4);
    await endsWell(watch);
    const { loads, rejected } = await dump(lake);
    expect(rejected).toEqual([]);
    expect(loads.filter((load) => load.includes('growing.json'))).toHaveLength(1);
    expect((await call({ lake }, (context) => files(context, 'held'))).value).toEqual([]);
  },
  MINUTE,
);

test(
  'a run ends although files keep coming; those that came while it ran are taken by the next one',
  async () => {
    const lake = newFolder();
    landAll(lake, walk([{ email: 'ann@x.org', shares: CONSENT }]));
    const folder = path.join(lakePaths(lake).landing, 'customer_landing');
    const running = startStedi(['run', '--lake', lake]);
    let number = 0;
    for (; running.child.exitCode === null && number < 200; number += 1) {
      writeFileSync(path.join(folder, `c-${number}.json`), lines(customer({ email: `p${number}@x.org` })));
      await wait(100);
    }
    expect(await running.stop('SIGKILL')).toMatchObject({ code: 0, signal: null });
    expect((await stedi('run', '--lake', lake)).code).toBe(0);
    expect((await dump(lake)).customer_staging).toHaveLength(number + 1);
  },
  MINUTE,
);

test(
  'names that begin with a dot or end in .part or .tmp are left alone until they are renamed',
  async () => {
    const lake = newFolder();
    const watch = await watching(lake, '--set', 'settleSeconds=0');
    const line = lines(customer({ email: 'ann@x.org' }));
    const folder = path.join(lakePaths(lake).landing, 'customer_landing');
    landAll(lake, {
      'customer_landing/.hidden.json': line,
      'customer_landing/.folder/inside.json': line,
      'customer_landing/upload.json.part': line,
      'customer_landing/upload.json.tmp': line,
      'customer_landing/good.json': line,
    });
    await loaded(lake, 1);
    expect(await loadedFiles(lake)).toEqual(['customer_landing/good.json']);
    renameSync(path.join(folder, 'upload.json.part'), path.join(folder, 'upload.json'));
    await loaded(lake, 2);
    mkdirSync(path.join(folder, 'deep', 'er'), { recursive: true });
    landAll(lake, { 'customer_landing/deep/er/x.json': line });
    await loaded(lake, 3);
    expect(await loadedFiles(lake)).toEqual([
      'customer_landing/deep/er/x.json',
      'customer_landing/good.json',
      'customer_landing/upload.json',
    ]);
    await endsWell(watch);
  },
  MINUTE,
);

test(
  'other commands work while watch waits',
  async () => {
    const lake = newFolder();
    landAll(lake, walk([{ email: 'ann@x.org', shares: CONSENT }]));
    const watch = await watching(lake, '--set', 'settleSeconds=0');
    await loaded(lake, 3);
    await until('the lake is free', async () => (await stedi('check', '--lake', lake)).code === 0);

    const asked = await stedi('query', 'select count(*) as rows from machine_learning_curated', '--lake', lake, '--json');
    expect(JSON.parse(asked.stdout)).toEqual([{ rows: 1 }]);

    const source = newFolder();
    writeFileSync(path.join(source, 'customer-ben.json'), lines(customer({ email: 'ben@x.org', shares: CONSENT })));
    await until('run gets hold of the lake', async () => {
      const { code, stdout } = await stedi('run', source, '--lake', lake, '--json');
      return code === 0 && runResultSchema.parse(JSON.parse(stdout)).tables['customer_trusted'] === 2;
    });
    landAll(lake, { 'customer_landing/cem.json': lines(customer({ email: 'cem@x.org', shares: CONSENT })) });
    await loaded(lake, 5);
    await endsWell(watch);
    const { loads, customer_trusted } = await dump(lake);
    expect([loads.length, customer_trusted.length]).toEqual([5, 3]);
    expect(await illnesses(lake)).toEqual([]);
  },
  MINUTE,
);

test(
  'a watch that is killed loses nothing',
  async () => {
    const lake = newFolder();
    const watch = await watching(lake);
    landAll(lake, walk([{ email: 'ann@x.org', shares: CONSENT }]));
    await watch.says(/Run run-/);
    await watch.stop('SIGKILL');
    const next = await watching(lake);
    await loaded(lake, 3);
    await endsWell(next);
    expect((await dump(lake)).machine_learning_curated).toHaveLength(1);
    expect(await illnesses(lake)).toEqual([]);
  },
  MINUTE,
);

async function expectNothingWaits({ ledger }: LocalHome, number: number): Promise<void> {
  expect(await ledger.lock()).toBeNull();
  const states = [];
  for await (const { state } of ledger.files()) states.push(state);
  expect(states).toEqual(Array.from({ length: number }, () => 'loaded'));
}

const quiet = { say: () => undefined };
const arrives = (home: LocalHome, arrivals: Arrivals, name: string): void => {
  land(home, `customer_landing/${name}.json`, lines(customer({ email: `${name}@x.org`, shares: CONSENT })));
  arrivals.add(`customer_landing/${name}.json`);
};

test('a file that arrives when the last run has just ended is taken', async () => {
  const [home, arrivals] = [newLake(), new Arrivals()];
  const drain = home.executions.drain.bind(home.executions);
  home.executions.drain = async () => {
    await drain();
    if (home.ended.length === 1) arrives(home, arrivals, 'late');
  };
  arrives(home, arrivals, 'early');
  await work(home, arrivals, false, quiet);
  await expectNothingWaits(home, 2);
});

test('a file that arrives during a run that is interrupted is taken by another one', async () => {
  const arrivals = new Arrivals();
  const home = newLake(undefined, {
    log: (event, fields) => {
      if (event !== 'state_entered' || home.ended.length > 0) return;
      if (fields.state === 'CustomerTrusted') arrives(home, arrivals, 'late');
      if (fields.state === 'Validate') throw new Error('as if the disk were full');
    },
  });
  arrives(home, arrivals, 'early');
  await work(home, arrivals, false, quiet);
  expect(home.ended.map(({ status }) => status)).toEqual(['FAILED', 'SUCCEEDED']);
  await expectNothingWaits(home, 2);
});

test('what an interrupted run has left is tried again although nothing arrives', async () => {
  const arrivals = new Arrivals();
  const home = newLake(undefined, {
    log: (event, fields) => {
      if (event === 'state_entered' && fields.state === 'Validate' && home.ended.length === 0)
        throw new Error('as if the disk were full');
    },
  });
  arrives(home, arrivals, 'early');
  expect(await work(home, arrivals, false, quiet)).toBe(true);
  expect(home.ended.map(({ status }) => status)).toEqual(['FAILED']);
  expect(await work(home, arrivals, false, quiet)).toBe(false);
  await expectNothingWaits(home, 1);
});

test(
  'what a run left that was killed while watch waited is taken over with the next file',
  async () => {
    const lake = newFolder();
    landAll(lake, walk([{ email: 'ann@x.org', shares: CONSENT }]));
    await killedAt(lake, 'ledger.claim');
    const arrivals = new Arrivals();
    const home = newLake(settingsWith(), { folder: lake });
    arrives(home, arrivals, 'late');
    await work(home, arrivals, false, quiet);
    await expectNothingWaits(home, 4);
  },
  MINUTE,
);

test(
  'watch waits for a query that stays open, however long it takes',
  async () => {
    const lake = newFolder();
    landAll(lake, walk([{ email: 'ann@x.org', shares: CONSENT }]));
    const watch = await watching(lake, '--set', 'settleSeconds=0');
    await loaded(lake, 3);
    const { tables } = lakePaths(lake);
    const query = await openSession(tables, newFolder(), { readOnly: true });
    try {
      landAll(lake, { 'customer_landing/ben.json': lines(customer({ email: 'ben@x.org', shares: CONSENT })) });
      await watch.says(new RegExp(`Waiting: ${tables} is open in process ${process.pid}`));
      await wait(5_000);
    } finally {
      query.close();
    }
    await loaded(lake, 4);
    await endsWell(watch);
    const { executions } = newLake(settingsWith(), { folder: lake });
    expect(executions.history().map(({ status }) => status)).toEqual(['SUCCEEDED', 'SUCCEEDED']);
    expect(await illnesses(lake)).toEqual([]);
  },
  2 * MINUTE,
);

test.each(['SIGINT', 'SIGTERM'] as const)(
  '%s ends a watch that waits for another process',
  async (signal) => {
    const lake = newFolder();
    const lock = await ProcessLock.acquire(lake, 'the test');
    try {
      const watch = startStedi(['watch', '--lake', lake]);
      watches.push(watch);
      await watch.says(/Waiting: .* is in use by process/);
      expect(await watch.stop(signal)).toMatchObject({ code: 0, signal: null });
    } finally {
      lock.release();
    }
  },
  MINUTE,
);

test.each([
  ['moved', (landing: string) => renameSync(landing, `${landing}-elsewhere`)],
  ['removed', (landing: string) => rmSync(landing, { recursive: true })],
])(
  'landing that is %s ends watch with an error that names it, and is not taken for an empty one afterwards',
  async (_, leave) => {
    const lake = newFolder();
    const { landing } = lakePaths(lake);
    const watch = await watching(lake);
    await until('the lake is free', async () => (await stedi('check', '--lake', lake)).code === 0);
    leave(landing);
    expect(await watch.ended).toMatchObject({ code: 1, stderr: expect.stringContaining(`${landing} is gone: `) as unknown });
    for (const looking of ['files', 'runs']) expect((await stedi(looking, '--lake', lake)).code).toBe(0);
    for (const command of [
      ['run'],
      ['watch'],
      ['check'],
      ['start'],
      ['rebuild'],
      ['drop', 'customer_landing', lakePaths(lake).ledger],
    ]) {
      const refused = await stedi(...command, '--lake', lake);
      expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining(`${landing} is missing: `) as unknown });
    }
  },
  MINUTE,
);

test(
  'landing that is moved while a run works ends watch too',
  async () => {
    const lake = newFolder();
    const { landing } = lakePaths(lake);
    const watch = await watching(lake, '--set', 'settleSeconds=3');
    landAll(lake, walk([{ email: 'ann@x.org', shares: CONSENT }]));
    await watch.says(/Run run-/);
    renameSync(landing, `${landing}-elsewhere`);
    expect(await watch.ended).toMatchObject({ code: 1, stderr: expect.stringContaining(`${landing} is gone: `) as unknown });
  },
  MINUTE,
);

test(
  'damaged tables end watch with an error that names the file',
  async () => {
    const lake = newFolder();
    landAll(lake, walk([{ email: 'ann@x.org', shares: CONSENT }]));
    const watch = await watching(lake, '--set', 'settleSeconds=0');
    await loaded(lake, 3);
    await until('the lake is free', async () => (await stedi('check', '--lake', lake)).code === 0);
    const { tables } = lakePaths(lake);
    const damaged = readFileSync(tables);
    writeFileSync(tables, damaged.fill('damage', 4096)); // after the header that says what the file is
    landAll(lake, { 'customer_landing/ben.json': lines(customer({ email: 'ben@x.org', shares: CONSENT })) });
    const { code, stderr } = await watch.ended;
    expect(code).toBe(1);
    expect(stderr).toContain(`${tables} can't be opened: IO Error: Corrupt database file`);
  },
  MINUTE,
);
