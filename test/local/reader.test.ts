import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { landingContractOf } from '../../functions/core/contracts.ts';
import { LANDING_TABLES, PUBLISHED_TABLES } from '../../functions/core/steps.ts';
import type { LandingTable } from '../../functions/core/steps.ts';
import { generate } from '../../local/generate.ts';
import type { LocalHome } from '../../local/home.ts';
import { scan } from '../../local/reader/scan.ts';
import { scanAll } from '../../local/reader/scanAll.ts';
import { loadCases } from '../cases/load.ts';
import type { StagingCase } from '../cases/load.ts';
import { ReferenceLake, sorted } from '../reference/index.ts';
import type { LandedFile, Policy } from '../reference/index.ts';
import { temporaryFolders } from '../support/folders.ts';
import { land, landedFiles, runPending, settingsWith, temporaryLakes } from '../support/lakes.ts';
import { sortedRows, STAGED, StagingBench } from '../support/staging.ts';
import type { StagedTables } from '../support/staging.ts';
import { rowsOfTable } from '../support/tables.ts';

const POLICY: Policy = { mlJoin: 'person-and-time', consentFrom: 'any-time' };

const newFolder = temporaryFolders();
const newLake = temporaryLakes();
let bench: StagingBench;
beforeAll(async () => {
  bench = await StagingBench.open(newFolder());
});
afterAll(() => bench.close());

// The cases of test/cases

/** Cases impossible in a folder, and why. */
const NOT_IN_A_FOLDER: Record<string, string> = {
  'two versions of one key in one run, ordered as text': 'a folder holds one version of a key; the other one is gone',
};

const cases = loadCases();
/** The ledger has a say in the order of files and runs: such cases go through the whole pipeline. */
const aboutOrder = cases.filter(({ theme, runs }) => runs.length > 1 || (theme === 'duplicates' && hasSeveralFiles(runs)));

function hasSeveralFiles(runs: StagingCase['runs']): boolean {
  return runs.some(({ files }) => files.length > 1);
}

test('the cases that are left out are there', () => {
  expect(cases.map(({ name }) => name)).toEqual(expect.arrayContaining(Object.keys(NOT_IN_A_FOLDER)));
});

describe.each([...new Set(cases.map(({ theme }) => theme))])('cases, staged: %s', (theme) => {
  test.each(cases.filter((one) => one.theme === theme && !aboutOrder.includes(one)))('$name', async (one) => {
    const [run] = one.runs;
    expect(await bench.stage(run?.files ?? [], run?.runId ?? '')).toEqual(await expectedTables(one));
  });
});

describe('cases, through the whole pipeline', () => {
  test.each(aboutOrder.filter(({ name }) => NOT_IN_A_FOLDER[name] === undefined))('$name', async (one) => {
    const home = newLake(settingsWith({ maxRejectRatio: 1 }));
    const landed = new Set<string>();
    const nameOf = new Map<string, string>();
    for (const { runId, files } of one.runs) {
      for (const { key, version, bytes } of files) {
        if (landed.has(`${key} ${version}`)) continue; // it is there unchanged
        landed.add(`${key} ${version}`);
        land(home, key, bytes);
        nameOf.set(`${key} ${(await home.landing.current(key))?.version}`, version);
      }
      const ended = await runPending(home);
      expect(ended).toMatchObject([{ status: 'SUCCEEDED', error: null }]);
      nameOf.set(ended[0]?.runId ?? '', runId);
    }
    expect(await stagedTables(home, nameOf)).toEqual(await expectedTables(one));
  });
});

async function expectedTables({ expect: expected }: StagingCase): Promise<StagedTables> {
  return sortedRows(STAGED, (table) => expected[table]);
}

/** The staged tables of a lake, with versions (by key and version) and runs renamed. */
async function stagedTables(home: LocalHome, nameOf: ReadonlyMap<string, string>): Promise<StagedTables> {
  const { aside } = await home.session();
  const named = (text: string): string => nameOf.get(text) ?? 'unknown';
  return sortedRows(STAGED, async (table) =>
    (await rowsOfTable(aside, table)).map((row) => ({
      ...row,
      ...('version' in row && { version: named(`${String(row['file'])} ${String(row['version'])}`) }),
      ...('run_id' in row && { run_id: named(String(row['run_id'])) }),
    })),
  );
}

// Fast and slow reading give the same

/** A record as its members in the order of the contract, each value as JSON text. */
type Members = readonly (readonly [name: string, json: string])[];

/** Ways to write records; the first one is the shape that is read fastest. */
const WRITTEN: Record<string, (records: readonly Members[]) => string | Uint8Array> = {
  'one on each line': (records) => lines(records.map((members) => objectText(members))),
  'with blanks after colons and commas': (records) => lines(records.map((members) => objectText(members, ', ', ': '))),
  'with Windows line ends': (records) => records.map((members) => `${objectText(members)}\r\n`).join(''),
  'without the last line feed': (records) => records.map((members) => objectText(members)).join('\n'),
  'behind a byte order mark': (records) => `\ufeff${lines(records.map((members) => objectText(members)))}`,
  'with blank lines': (records) => records.map((members) => `\n \r\n${objectText(members)}\n`).join(''),
  'with tabs and trailing commas': (records) => lines(records.map((members) => `\t${objectText(members, '\t,\t', '\t:\t')} ,`)),
  'all on one line': (records) => records.map((members) => objectText(members)).join(''),
  'as an array': (records) => `[${records.map((members) => objectText(members)).join(',')}]`,
  'as an array over lines': (records) => `[\n${records.map((members) => objectText(members)).join(',\n')}\n]\n`,
  'in another order of members': (records) => lines(records.map((members) => objectText(members.toReversed()))),
  'in capitals': (records) =>
    lines(records.map((members) => objectText(members.map(([name, json]) => [name.toUpperCase(), json])))),
  'in as many orders as there are records': (records) => lines(records.map((members, at) => objectText(rotated(members, at)))),
  'with members that nobody knows': (records) =>
    lines(records.map((members, at) => objectText([['note', `"n${at}"`], ...members, ['more', '{"x":[1,"}"]}']]))),
  'with letters as escapes': (records) => lines(records.map((members) => objectText(members.map(escaped)))),
  'every other one broken behind': (records) =>
    lines(records.map((members, at) => (at % 2 === 0 ? objectText(members) : `${objectText(members)} oops`))),
  'as gzip': (records) => gzipSync(lines(records.map((members) => objectText(members)))),
};

function lines(texts: readonly string[]): string {
  return texts.map((text) => `${text}\n`).join('');
}

function objectText(members: Members, comma = ',', colon = ':'): string {
  return `{${members.map(([name, json]) => `"${name}"${colon}${json}`).join(comma)}}`;
}

function rotated(members: Members, by: number): Members {
  const from = by % members.length;
  return [...members.slice(from), ...members.slice(0, from)];
}

function escaped([name, json]: readonly [string, string]): readonly [string, string] {
  const escape = (char: string): string => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return [name.replace(/^./, escape), json.replace(/(?<=^".*)[a-z](?=[^\\]*"$)/, escape)];
}

const text = fc
  .array(
    fc.constantFrom(
      'a',
      'Z',
      '7',
      ' ',
      '-',
      '@',
      'é',
      '\u00a0',
      '\u3000',
      '😀',
      '\u007f',
      '\\"',
      '\\\\',
      '\\u0000',
      '{',
      ',',
      ']',
    ),
  )
  .map((parts) => `"x${parts.join('')}"`);
const integer = fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt({ min: -20n, max: 20n })).map(String);
const time = fc.bigInt({ min: 1n, max: 253402300799999n }).map(String);
const double = fc
  .oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
    fc.constantFrom('-0', '-0.0', '0.10000000000000001', '1e3', '123456789012345.12345678901234567'),
  )
  .filter((digits) => Number.isFinite(Number(digits)));
const VALUE = { text, email: text, integer, time, consent: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }).map(String), double };

/** A valid record: each optional member may be missing or null. */
function record(table: LandingTable): fc.Arbitrary<Members> {
  const members = landingContractOf(table).columns.map(({ spellings, rule, required }) => {
    const name = spellings[0] ?? '';
    const value = VALUE[rule].map((json) => [[name, json] as const]);
    if (required) return value;
    return fc.oneof(value, fc.constant([]), fc.constant([[name, 'null'] as const]));
  });
  return fc.tuple(...members).map((parts) => parts.flat());
}

describe.each(LANDING_TABLES)('however records are written, the same ones are staged: %s', (table) => {
  const records = fc
    .sample(
      fc.uniqueArray(record(table), { minLength: 60, maxLength: 60, size: 'max', selector: (members) => objectText(members) }),
      { numRuns: 1, seed: 7 },
    )
    .flat();

  test.each(Object.keys(WRITTEN))('%s', async (way) => {
    const bytes = Buffer.from(WRITTEN[way]?.(records) ?? '');
    const file: LandedFile = { table, key: `${table}/file.json`, version: 'v1', bytes };
    expect(await bench.stage([file], 'run-1')).toEqual(await referenceTables([file]));
  });
});

async function referenceTables(files: readonly LandedFile[]): Promise<StagedTables> {
  const lake = new ReferenceLake(POLICY);
  lake.run([...files], 'run-1');
  const tables = lake.tables();
  return sortedRows(STAGED, (table) => tables[table]);
}

// The same input split in any way

test('the same lines in any number of files give the same records, duplicates and rejects', async () => {
  const valid = fc.sample(record('customer_landing'), { numRuns: 40, seed: 3 }).map((members) => objectText(members));
  const all = [...valid, ...valid.slice(0, 10), 'oops', '{"email":""}', '5 {"email":"a@x.org"}', '{"phone":"1"}', ''];
  const whole = await summary(all, 1);
  expect(whole).toMatchObject({ landed: 55n, rejected: 4n });
  for (const files of [2, 3, 11, all.length]) expect(await summary(all, files)).toEqual(whole);
});

async function summary(all: readonly string[], files: number) {
  const table = 'customer_landing';
  const parts = Array.from({ length: files }, (_, at): LandedFile => {
    const own = all.filter((_line, line) => line % files === at);
    // Some have the last line feed, some don't.
    return { table, key: `${table}/${at}.json`, version: 'v1', bytes: Buffer.from(own.join('\n') + (at % 2 === 0 ? '\n' : '')) };
  });
  const { loads = [], customer_staging = [], rejected = [] } = await bench.stage(parts, 'run-1');
  const total = (part: string): bigint =>
    loads.reduce((sum, load) => sum + BigInt(new RegExp(`"${part}":([0-9]+)`).exec(load)?.[1] ?? ''), 0n);
  return {
    landed: total('landed'),
    staged: total('staged'),
    duplicate: total('duplicate'),
    rejected: total('rejected'),
    customer_staging,
    records: rejected.map((row) => /"reason":"[a-z_]+"|"record":.*"run_id"/.exec(row)?.[0]).sort(),
  };
}

// Large things

const MEGABYTE = 1024 * 1024;
/** More than DuckDB's reader takes by itself: it reads lines of up to twice its limit of 16 MiB. */
const LONG = 'x'.repeat(40 * MEGABYTE);

test.each([
  ['valid, clean', `{"email":"a@x.org","phone":"${LONG}"}`],
  ['valid, the length in a member that nobody knows', `{"email":"a@x.org","note":"${LONG}"}`],
  ['valid, taken apart', ` {"email":" a@x.org","phone":"${LONG}"}`],
  ['broken', `{"email":"a@x.org","phone":"${LONG}`],
  ['broken, six times as long as JSON', '\u0001'.repeat(15 * MEGABYTE)],
])('a line of many MB between others: %s', async (_, line) => {
  const table = 'customer_landing';
  const bytes = Buffer.from(`{"email":"first@x.org"}\n${line}\n{"email":"last@x.org"}\n`);
  const file: LandedFile = { table, key: `${table}/file.json`, version: 'v1', bytes };
  // Compared as text, so that no difference of 40 MB is shown.
  expect(JSON.stringify(await bench.stage([file], 'run-1')) === JSON.stringify(await referenceTables([file]))).toBe(true);
});

test('a file of several pieces, clean and dirty by turns, is read as one', async () => {
  const padding = 'p'.repeat(250);
  const line = (at: number): string => {
    if (at % 6_000 === 5_999) return `oops ${at}`;
    if (at % 4_000 === 3_999) return `{"user":"A${at}@x.org","timestamp":${at + 1},"x":1,"y":2,"z":3} {}`;
    if (at % 2_000 === 1_999) return '';
    return `{"user":"a${at}@x.org","timestamp":${at + 1},"x":1.5,"y":-2,"z":0.25,"padding":"${padding}"}`;
  };
  const table = 'accelerometer_landing';
  const bytes = Buffer.from(lines(Array.from({ length: 20_000 }, (_, at) => line(at))));
  expect(bytes.length).toBeGreaterThan(5 * MEGABYTE);
  const { loads, rejected, accelerometer_staging } = await bench.stage(
    [{ table, key: `${table}/file.json`, version: 'v1', bytes }],
    'run-1',
  );
  expect(loads).toEqual([expect.stringMatching(/"duplicate":0.*"landed":20001,.*"rejected":7,.*"staged":19994,/)]);
  const refused = (rejected ?? []).map((row) => Number(/"line":([0-9]+)/.exec(row)?.[1]));
  expect(refused.sort((one, other) => one - other)).toEqual([4_000, 6_000, 8_000, 12_000, 16_000, 18_000, 20_000]);
  expect(accelerometer_staging).toHaveLength(19_994);
});

test('a line that is clean but for a byte that is not UTF-8 is rejected alone', async () => {
  const table = 'customer_landing';
  const bytes = Buffer.from(
    '{"email":"a@x.org","phone":"1"}\n{"email":"b@x.org","phone":"1\u00fc2"}\n{"email":"c@x.org","phone":"3"}\n',
    'latin1',
  );
  const file: LandedFile = { table, key: `${table}/file.json`, version: 'v1', bytes };
  const tables = await bench.stage([file], 'run-1');
  expect(tables).toEqual(await referenceTables([file]));
  expect(tables['customer_staging']).toHaveLength(2);
  expect(tables['rejected']).toEqual([expect.stringMatching(/"line":2,.*"reason":"not_utf8"/)]);
});

test('a line that is not JSON may hold millions of blanks', async () => {
  const table = 'customer_landing';
  const file: LandedFile = {
    table,
    key: `${table}/blanks.json`,
    version: 'v1',
    bytes: Buffer.from(`{"email":${' '.repeat(2_000_000)}x${' '.repeat(9)}\n{"email":"a@x.org"}\n`),
  };
  const tables = await bench.stage([file], 'run-1');
  expect(tables['customer_staging']).toHaveLength(1);
  expect(tables['rejected']).toEqual([expect.stringMatching(/"line":1,.*"reason":"broken_json".* x"/)]);
});

test.each([
  ['whole', 0],
  ['cut', 5],
])('what stands behind the padding of a gzip file breaks it wherever it starts: a member, %s', async (_, cut) => {
  const table = 'customer_landing';
  const member = gzipSync('{"email":"a@x.org"}\n');
  const piece = 64 * 1024; // of the stream that reads the file
  const starts = [member.length + 1, piece - 1, piece, piece + 1, 2 * piece];
  const files = starts.map((start): LandedFile => {
    const padding = Buffer.alloc(start - member.length);
    const bytes = Buffer.concat([member, padding, member.subarray(0, member.length - cut)]);
    return { table, key: `${table}/${start}.json.gz`, version: 'v1', bytes };
  });
  const tables = await bench.stage(files, 'run-1');
  expect(tables).toEqual(await referenceTables(files));
  expect(tables['rejected']).toHaveLength(starts.length);
});

test('the header of a member behind the padding of a gzip file breaks it, although what it adds may look like more padding', async () => {
  const table = 'customer_landing';
  const member = gzipSync('{"email":"a@x.org"}\n');
  const header = gzipSync('').subarray(0, 3);
  const piece = 64 * 1024; // of the stream that reads the file
  const files = [1, 2, 5, 9, 50].map((zeros): LandedFile => {
    // No compression, so that its length is known: blanks up to the padding, which ends with the piece.
    const room = piece - zeros - member.length;
    const blanks = gzipSync(Buffer.alloc(room - gzipSync('').length - 3, ' '), { level: 0 });
    expect(blanks).toHaveLength(room);
    const bytes = Buffer.concat([member, blanks, Buffer.alloc(zeros), header, Buffer.alloc(9)]);
    return { table, key: `${table}/${zeros}.json.gz`, version: 'v1', bytes };
  });
  const tables = await bench.stage(files, 'run-1');
  expect(tables).toEqual(await referenceTables(files));
  expect(tables['rejected']).toHaveLength(files.length);
});

test('a gzip file that finds no room to be unpacked is an error, not a broken file', async () => {
  const folder = newFolder();
  const file = path.join(folder, 'file.json.gz');
  writeFileSync(file, gzipSync('{"email":"a@x.org"}\n'));
  mkdirSync(path.join(folder, 'scratch.unpacked'));
  const contract = landingContractOf('customer_landing');
  const origin = { landing_table: contract.table, file: 'file.json.gz', version: 'v1', run_id: 'run-1' };
  await expect(scan({ path: file, scratch: path.join(folder, 'scratch'), contract, origin })).rejects.toThrow(/EISDIR/);
});

test('a lone carriage return is a blank, in files that are clean but for it too', async () => {
  const table = 'customer_landing';
  const bytes = Buffer.from(
    '{"email":"a@x.org"}\r{"email":"b@x.org"}\n{"email":"c@x.org"}\r\r\n{"email":\r"d@x.org"}\n{"email":"e@x.org"}\r',
  );
  const file: LandedFile = { table, key: `${table}/file.json`, version: 'v1', bytes };
  const tables = await bench.stage([file], 'run-1');
  expect(tables).toEqual(await referenceTables([file]));
  expect(tables['customer_staging']).toHaveLength(5);
});

// Threads

test('threads find what one after the other finds, in the order of the files', async () => {
  const folder = newFolder();
  const contract = landingContractOf('customer_landing');
  const contents = [
    '{"email":"a@x.org"}\n',
    'oops\n',
    '',
    '{"email":" b@x.org"} 5\n',
    gzipSync('{"email":"c@x.org"}\n'),
    '{"eMail":"d@x.org"}\n',
  ];
  const tasksIn = (scratch: string) => {
    mkdirSync(path.join(folder, scratch));
    return contents.map((content, at) => {
      const file = path.join(folder, `${at}.json`);
      writeFileSync(file, content);
      const origin = { landing_table: contract.table, file: `${at}.json`, version: 'v1', run_id: 'run-1' };
      return { path: file, scratch: path.join(folder, scratch, String(at)), contract, origin };
    });
  };
  const without = await scanAll(tasksIn('scratch'), 0);
  const threads = await scanAll(tasksIn('threads'), 1024 * MEGABYTE);
  expect(JSON.parse(JSON.stringify(threads).replaceAll('/threads/', '/scratch/'))).toEqual(JSON.parse(JSON.stringify(without)));
  expect(without.map(({ landed, rejected }) => [landed, rejected])).toEqual([
    [1, 0],
    [1, 1],
    [0, 0],
    [2, 1],
    [1, 0],
    [1, 0],
  ]);
});

test('what goes wrong in a thread is an error here', async () => {
  const contract = landingContractOf('customer_landing');
  const origin = { landing_table: contract.table, file: 'file.json', version: 'v1', run_id: 'run-1' };
  const missing = ['a', 'b'].map((name) => ({
    path: path.join(newFolder(), name),
    scratch: path.join(newFolder(), name),
    contract,
    origin,
  }));
  await expect(scanAll(missing, 1024 * MEGABYTE)).rejects.toThrow(/ENOENT/);
});

test('a thread that dies is an error here', async () => {
  const folder = newFolder();
  const contract = landingContractOf('customer_landing');
  const origin = { landing_table: contract.table, file: 'file.json', version: 'v1', run_id: 'run-1' };
  const tasks = ['a', 'b'].map((name) => ({ path: path.join(folder, name), scratch: path.join(folder, name), contract, origin }));
  for (const task of tasks) writeFileSync(task.path, '{"email":"a@x.org"}\n');
  // The first thread gets a non-task, and fails before it can answer.
  const own = Object.getOwnPropertyDescriptor(Worker.prototype, 'postMessage') ?? {};
  const value = function (this: Worker): void {
    Object.defineProperty(Worker.prototype, 'postMessage', own);
    this.postMessage(null);
  };
  Object.defineProperty(Worker.prototype, 'postMessage', { ...own, value });
  await expect(scanAll(tasks, 1024 * MEGABYTE)).rejects.toThrow(/null/);
});

// Everything at once

test('every defect of the generator in one run gives the tables of the reference', async () => {
  const home = newLake();
  const { defects } = await generate({ out: home.paths.landing, customers: 60, seed: 5, dirty: true });
  expect(defects.length).toBeGreaterThan(30);
  const files = await landedFiles(home);
  expect(await runPending(home)).toMatchObject([{ status: 'SUCCEEDED', error: null }]);

  const reference = new ReferenceLake(POLICY);
  reference.run(files, home.ended[0]?.runId ?? '');
  const expected = reference.tables();
  const { aside } = await home.session();
  for (const table of PUBLISHED_TABLES) {
    expect({ table, rows: sorted(await rowsOfTable(aside, table)) }).toEqual({ table, rows: sorted(expected[table]) });
  }
});
