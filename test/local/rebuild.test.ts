import { cpSync, mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { lakePaths } from '../../local/lakePaths.ts';
import { alter, PEOPLE, valueOf } from '../support/commandLine.ts';
import { killedAt } from '../support/crashes.ts';
import { temporaryFolders } from '../support/folders.ts';
import { dump, landAll, stedi } from '../support/lake.ts';
import { AT, customer, lines, walk } from '../support/people.ts';

const newFolder = temporaryFolders();

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
  expect(gate.stderr).toMatch(
    /nothing could be rebuilt[\s\S]*expected:loads[\s\S]*If you raised a limit to load a file, raise it here too/,
  );
  expect((await rebuild('--replace')).code).toBe(0);
  expect((await rebuild()).code).toBe(0);
  landAll(lake, { 'customer_landing/later.json': lines(customer({ email: 'later@x.org' })) });
  const differing = await rebuild();
  expect(differing.code).toBe(1);
  expect(differing.stdout).toMatch(/Nothing was replaced; to replace the tables: "stedi rebuild --replace"/);
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

test('rebuild does not bring back who has withdrawn though no file is gone, unless that is wanted', async () => {
  const lake = newFolder();
  const rebuild = (...args: string[]) => stedi('rebuild', '--replace', '--lake', lake, ...args);
  landAll(lake, walk(PEOPLE));
  await stedi('run', '--lake', lake);
  // As if a rule had accepted a withdrawal when it came, and would reject it today.
  for (const statement of [
    "insert into customer_staging select * replace (lastupdatedate + 1 as lastupdatedate, null as sharewithresearchasofdate) from customer_staging where email = 'ann@x.org'",
    "delete from customer_trusted where email = 'ann@x.org'",
  ])
    await alter(newFolder(), lake, statement);
  const before = await dump(lake);
  const kept = await rebuild();
  expect(kept.code).toBe(1);
  expect(kept.stdout).toMatch(/1 of the people who withdrew .* would be back.*--forget"[^]*Nothing was replaced/);
  expect(await dump(lake)).toEqual(before);
  expect((await rebuild('--forget')).stdout).toMatch(/1 of the people who withdrew their consent are back[^]*Replaced/);
});

test('rebuild does not call records lost that landing still has, in a file that was written anew', async () => {
  const lake = newFolder();
  landAll(lake, walk(PEOPLE));
  await stedi('run', '--lake', lake);
  utimesSync(path.join(lake, 'landing', 'customer_landing', 'people.json'), 1, 1);
  const { code, stdout } = await stedi('rebuild', '--lake', lake);
  expect(code).toBe(0);
  expect(stdout).toMatch(/no longer in landing as they were[^]*people\.json\nNo record is missing/);
  rmSync(path.join(lake, 'lakehouse.duckdb'));
  expect((await stedi('rebuild', '--lake', lake)).stdout).toMatch(
    /people\.json\nAny of their records that no other file holds are lost/,
  );
});

test('rebuild reads all of a landing folder that holds more files than are announced at once', async () => {
  const lake = newFolder();
  landAll(lake, walk(PEOPLE));
  for (let at = 0; at < 20; at += 1)
    landAll(lake, { [`customer_landing/more-${at}.json`]: lines(customer({ email: `more-${at}@x.org` })) });
  await stedi('run', '--lake', lake);
  const { code, stdout } = await stedi('rebuild', '--lake', lake);
  expect(code).toBe(0);
  expect(stdout).toMatch(/customer_staging +\| +22 \| +22 \| +0 \| +0 \|/);
});

test('rebuild goes on over what a killed one has left', async () => {
  const lake = newFolder();
  landAll(lake, walk(PEOPLE));
  await stedi('run', '--lake', lake);
  mkdirSync(path.join(lake, 'rebuild'));
  writeFileSync(path.join(lake, 'rebuild', 'lakehouse.duckdb'), 'half');
  expect((await stedi('rebuild', '--lake', lake)).code).toBe(0);
});

test('rebuild --replace takes away rows that no file gives', async () => {
  const lake = newFolder();
  landAll(lake, walk(PEOPLE));
  await stedi('run', '--lake', lake);
  const before = await dump(lake);
  await alter(
    newFolder(),
    lake,
    "insert into customer_staging select * replace ('nobody@x.org' as email) from customer_staging limit 1",
  );
  const { code, stdout } = await stedi('rebuild', '--replace', '--lake', lake);
  expect(code).toBe(0);
  expect(stdout).toMatch(/Replaced\n$/);
  expect(await dump(lake)).toEqual(before);
});

test('rebuild does not take tables for lost that can not be opened', async () => {
  const lake = newFolder();
  landAll(lake, walk(PEOPLE));
  await stedi('run', '--lake', lake);
  const { tables } = lakePaths(lake);
  rmSync(tables);
  mkdirSync(tables);
  const { code, stdout, stderr } = await stedi('rebuild', '--replace', '--lake', lake);
  expect(code).toBe(1);
  expect(stdout).not.toMatch(/no tables to compare/);
  expect(stderr).toMatch(/can't be opened/);
});

describe('files of which a rebuild holds others than the lake', () => {
  const STRICT = ['--set', 'minRecordsForRatio=1'];

  test('are told, and are a reason for exit code 1 although the tables do not differ, where the rebuild holds them', async () => {
    const lake = newFolder();
    landAll(lake, { ...walk(PEOPLE), 'customer_landing/bad.json': 'rubbish\n' });
    await stedi('run', '--lake', lake, ...STRICT);
    const { code, stdout } = await stedi('rebuild', '--lake', lake, ...STRICT);
    expect(code).toBe(1);
    expect(stdout).toMatch(/match what the other files give[^]*Held while rebuilding:\n {2}customer_landing\/bad\.json: /);
  });

  test('are named with the reason of the lake where the lake holds them and the rebuild does not', async () => {
    const lake = newFolder();
    landAll(lake, walk(PEOPLE));
    await stedi('run', '--lake', lake);
    landAll(lake, { 'customer_landing/bad.json': `${lines(customer({ email: 'new@x.org' }))}rubbish\n` });
    expect((await stedi('run', '--lake', lake, ...STRICT)).code).toBe(1);
    const rebuilt = z.looseObject({ held: z.array(z.unknown()), noLongerHeld: z.array(z.unknown()), differs: z.boolean() });
    expect(valueOf(await stedi('rebuild', '--json', '--lake', lake), rebuilt, 1)).toMatchObject({
      held: [],
      noLongerHeld: [{ file: 'customer_landing/bad.json', why: expect.stringMatching(/^1 of 2 records rejected/) as unknown }],
      differs: true,
    });
    expect((await stedi('rebuild', '--lake', lake)).stdout).toMatch(
      /Held in the lake, but loaded here[^]*:\n {2}customer_landing\/bad\.json: 1 of 2 records rejected/,
    );
  });

  test('do not take what the lake has loaded of them with --forget: landing still has it', async () => {
    const lake = newFolder();
    landAll(lake, { ...walk(PEOPLE), 'customer_landing/bad.json': `${lines(customer({ email: 'new@x.org' }))}rubbish\n` });
    expect((await stedi('run', '--lake', lake)).code).toBe(0);
    const before = await dump(lake);
    const { code, stdout } = await stedi('rebuild', '--replace', '--forget', '--lake', lake, ...STRICT);
    expect(code).toBe(1);
    expect(stdout).toMatch(/Nothing was replaced: the lake has loaded/);
    expect(await dump(lake)).toEqual(before);
  });
});

describe('tables that a rebuild would bring back without a withdrawal', () => {
  const withdrawal = { 'customer_landing/later.json': lines(customer({ email: 'ann@x.org', updated: AT + 1 })) };

  /** A lake in which Ann has withdrawn, and its tables file from before. */
  async function withdrawnLake() {
    const lake = newFolder();
    landAll(lake, walk(PEOPLE));
    await stedi('run', '--lake', lake);
    const before = path.join(newFolder(), 'before.duckdb');
    cpSync(lakePaths(lake).tables, before);
    landAll(lake, withdrawal);
    await stedi('run', '--lake', lake);
    return { lake, before };
  }

  const readings = async (lake: string) =>
    (await stedi('query', 'select count(*) as found from machine_learning_curated', '--lake', lake)).stdout;

  test('an older file of tables is not built upon, for what was loaded since would be missing for good', async () => {
    const { lake, before } = await withdrawnLake();
    cpSync(before, lakePaths(lake).tables);
    for (const command of ['run', 'check']) {
      const { code, stdout, stderr } = await stedi(command, '--lake', lake);
      expect(code).toBe(1);
      expect(`${stdout}${stderr}`).toMatch(/is older than the ledger: it shows run-.*"stedi rebuild --replace"/);
    }
    expect((await stedi('rebuild', '--replace', '--lake', lake)).stdout).toMatch(/Replaced\n$/);
    expect((await stedi('check', '--lake', lake)).stdout).toMatch(/healthy/);
    expect(await readings(lake)).toMatch(/\| +0 \|/);
  });

  test('an older ledger is told by the tables what they hold', async () => {
    const { lake } = await withdrawnLake();
    for (const end of ['', '-wal', '-shm']) rmSync(`${lakePaths(lake).ledger}${end}`, { force: true });
    expect((await stedi('run', '--lake', lake)).code).toBe(0);
    expect((await stedi('check', '--lake', lake)).stdout).toMatch(/healthy/);
  });

  test('they stay where only the tables tell what was loaded, for the ledger is lost', async () => {
    const { lake } = await withdrawnLake();
    for (const end of ['', '-wal', '-shm']) rmSync(`${lakePaths(lake).ledger}${end}`, { force: true });
    rmSync(path.join(lake, 'landing', 'customer_landing', 'later.json'));
    const kept = await stedi('rebuild', '--replace', '--lake', lake);
    expect(kept.code).toBe(1);
    expect(kept.stdout).toMatch(/later\.json[^]*Nothing was replaced/);
  });

  test('lost tables are replaced without files that were loaded only if that is wanted', async () => {
    const { lake } = await withdrawnLake();
    rmSync(path.join(lake, 'landing', 'customer_landing', 'later.json'));
    rmSync(lakePaths(lake).tables);
    const kept = await stedi('rebuild', '--replace', '--lake', lake);
    expect(kept.code).toBe(1);
    expect(kept.stdout).toMatch(
      /later\.json\n.*whoever withdrew in one of them is back; put the files back.*--forget[^]*Nothing was replaced/,
    );
    const forgotten = await stedi('rebuild', '--replace', '--forget', '--lake', lake);
    expect(forgotten.stdout).toMatch(/whoever withdrew in one of them is back\n[^]*Replaced/);
    expect(await readings(lake)).toMatch(/\| +1 \|/);
  });
});

test('rebuild: a column that the tables of the lake do not have yet', async () => {
  const lake = newFolder();
  landAll(lake, walk(PEOPLE));
  await stedi('run', '--lake', lake);
  await alter(newFolder(), lake, 'alter table customer_staging drop column phone');
  const { code, stdout } = await stedi('rebuild', '--lake', lake);
  expect(code).toBe(1);
  expect(stdout).toMatch(/customer_staging +\| +2 \| +2 \| +2 \| +2 \|/);
});
