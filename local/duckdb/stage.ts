import { appendFile, mkdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { z } from 'zod';
import { contractOf, landingContractOf } from '../../functions/core/contracts.ts';
import type { LandingColumn, LandingContract } from '../../functions/core/contracts.ts';
import { LandingChangedError } from '../../functions/core/errors.ts';
import type { Manifest, StepMetrics } from '../../functions/core/runFiles.ts';
import type { LandingTable } from '../../functions/core/steps.ts';
import { scanAll } from '../reader/scanAll.ts';
import type { Scanned } from '../reader/scan.ts';
import { countOf, fileList, literal, numbersOf, rowsOf, whole } from './session.ts';
import type { Session } from './session.ts';

export interface StageContext {
  session: Session;
  runId: string;
  landingRoot: string;
  scratchFolder: string;
  /** `runs/<runId>/rejects` */
  rejectsFolder: string;
}

type ManifestFile = Manifest['files'][number];
type Load = NonNullable<StepMetrics['staging']>['files'][number];

interface Incoming extends ManifestFile {
  path: string;
  scanned: Scanned;
}

/**
 * Stages the claimed files of a landing table: reads them, keeps each valid record once, and records loads and rejects,
 * all in the run's transaction. File versions that the lake already holds are not read again.
 */
export async function stage(
  context: StageContext,
  table: LandingTable,
  files: readonly ManifestFile[],
): Promise<NonNullable<StepMetrics['staging']>> {
  const started = performance.now();
  const { run } = context.session;
  const contract = landingContractOf(table);
  const rowsBefore = await countOf(run, contract.feeds);
  // A database of its own: the run's transaction sees no table that is made in a database after it first looked there.
  await context.session.aside.run(`attach ':memory:' as ${scratchOf(table)}`);
  const held = await alreadyLoaded(run, table, files);
  const incoming = await scanFiles(
    context,
    contract,
    files.filter((file) => !held.has(fileId(file))),
  );
  await loadRejects(context, table, incoming);
  const counts = await loadRecords(context, contract, incoming);
  const loads = incoming.map(({ key, version, scanned }, at): Load => {
    const { landed, rejected, reasons, unknownFields } = scanned;
    return {
      key,
      version,
      landed,
      staged: counts[at]?.staged ?? 0,
      duplicate: counts[at]?.duplicate ?? 0,
      rejected,
      reasons,
      unknownFields,
    };
  });
  await recordLoads(run, table, context.runId, loads);
  await context.session.aside.run(`detach ${scratchOf(table)}`);
  return {
    landingTable: table,
    seconds: seconds(started),
    rows: await countOf(run, contract.feeds),
    rowsBefore,
    files: [...held.values(), ...loads],
  };
}

/** The database in memory that holds what was read, until it is staged. */
function scratchOf(table: LandingTable): string {
  return `scratch_${table}`;
}

function fileId({ key, version }: { key: string; version: string }): string {
  return `${key} ${version}`;
}

function seconds(started: number): number {
  return Math.round(performance.now() - started) / 1000;
}

/** What the lake knows of file versions that an earlier run has published, though the ledger does not (design section 6). */
async function alreadyLoaded(
  run: DuckDBConnection,
  table: LandingTable,
  files: readonly ManifestFile[],
): Promise<Map<string, Load>> {
  const wanted = new Set(files.map(fileId));
  const loads = await rowsOf(
    run,
    `select file as key, version, landed, staged, duplicate, rejected from loads where landing_table = ${literal(table)}`,
    z.object({ key: z.string(), version: z.string(), landed: whole, staged: whole, duplicate: whole, rejected: whole }),
  );
  const known = loads.filter((load) => wanted.has(fileId(load)));
  return new Map(known.map((load) => [fileId(load), { ...load, reasons: {}, unknownFields: [] }]));
}

async function scanFiles(context: StageContext, contract: LandingContract, files: readonly ManifestFile[]): Promise<Incoming[]> {
  const located = files.map((file) => ({ ...file, path: path.join(context.landingRoot, ...file.key.split('/')) }));
  await checkVersions(located);
  const tasks = located.map(({ key, version, path: file }, at) => ({
    path: file,
    scratch: path.join(context.scratchFolder, `${contract.table}-${at}`),
    contract,
    origin: { landing_table: contract.table, file: key, version, run_id: context.runId },
  }));
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  const scanned = await scanAll(tasks, bytes);
  return located.flatMap((file, at) => {
    const result = scanned[at];
    return result === undefined ? [] : [{ ...file, scanned: result }];
  });
}

async function checkVersions(files: readonly { key: string; version: string; path: string }[]): Promise<void> {
  await Promise.all(
    files.map(async ({ key, version, path: file }) => {
      const found = await stat(file, { bigint: true }).catch(() => null);
      if (found !== null && `${found.size}-${found.mtimeNs}` === version) return;
      throw new LandingChangedError(
        `${key} ${found === null ? 'vanished' : 'was overwritten'} after the run had claimed it; start a new run`,
      );
    }),
  );
}

async function loadRejects(
  { session, rejectsFolder }: StageContext,
  table: LandingTable,
  incoming: readonly Incoming[],
): Promise<void> {
  const rejects = incoming.flatMap(({ scanned }) => scanned.rejects ?? []);
  if (rejects.length === 0) return;
  await mkdir(rejectsFolder, { recursive: true });
  const kept = path.join(rejectsFolder, `${table}.ndjson`);
  for (const { path: file } of rejects) await appendFile(kept, await readFile(file));
  const columns = contractOf('rejected').columns.map(({ name, type }) => `${literal(name)}: ${literal(type)}`);
  const longest = Math.max(...rejects.map(({ longestLine }) => longestLine));
  const scratch = `${scratchOf(table)}.rejects`;
  await session.aside.run(`create table ${scratch} as from ${jsonLines([kept], columns, longest)}`);
  await session.run.run(`insert into rejected by name from ${scratch}`);
}

const DUCKDB_READER_TYPE: Record<LandingColumn['rule'], string> = {
  text: 'VARCHAR',
  email: 'VARCHAR',
  integer: 'BIGINT',
  time: 'BIGINT',
  consent: 'BIGINT',
  double: 'DOUBLE',
};

/** From a field of a clean line to the column's value. */
function cleanValue(rule: LandingColumn['rule'], spelling: string): string {
  const field = `"${spelling}"`;
  switch (rule) {
    case 'email':
      return `lower(${field})`; // in a clean line it is ASCII, where lower() is A–Z to a–z
    case 'consent':
      return `nullif(${field}, 0)`;
    case 'double':
      return `${field} + 0.0::DOUBLE`; // -0 becomes 0
    default:
      return field;
  }
}

function jsonLines(paths: readonly string[], columns: readonly string[], longestLine: number): string {
  // The reader's limit is for one object; its default of 16 MiB keeps its buffers small.
  const limit = Math.max(16 * 1024 * 1024, longestLine + 1024);
  return `read_json(${fileList(paths)}, columns = {${columns.join(', ')}}, format = 'newline_delimited', auto_detect = false, compression = 'uncompressed', maximum_object_size = ${limit})`;
}

/** Loads the valid records of all files and answers how many of each file were staged and how many were duplicates. */
async function loadRecords(
  { session }: StageContext,
  contract: LandingContract,
  incoming: readonly Incoming[],
): Promise<{ staged: number; duplicate: number }[]> {
  const scratch = `${scratchOf(contract.table)}.incoming`;
  const types = contract.columns.map(({ name, rule }) => `"${name}" ${DUCKDB_READER_TYPE[rule]}`);
  await session.aside.run(`create table ${scratch} (file INTEGER, ${types.join(', ')})`);
  for (const group of readGroups(incoming)) await session.aside.run(`insert into ${scratch} ${selectRecords(contract, group)}`);
  const counts = await stageOnce(session.run, contract, scratch);
  return incoming.map((_, file) => counts.get(file) ?? { staged: 0, duplicate: 0 });
}

interface ReadGroup {
  files: { number: number; path: string }[];
  spelling: Record<string, string>;
  values: 'as landed' | 'final';
  longestLine: number;
}

/** Files that one reader call can take: those that write the columns alike. */
function readGroups(incoming: readonly Incoming[]): ReadGroup[] {
  const groups = new Map<string, ReadGroup>();
  for (const [number, { scanned }] of incoming.entries()) {
    for (const { path: file, spelling, values, longestLine } of scanned.loads) {
      const id = JSON.stringify([values, Object.entries(spelling).sort()]);
      const group = groups.get(id) ?? { files: [], spelling, values, longestLine: 0 };
      group.files.push({ number, path: file });
      group.longestLine = Math.max(group.longestLine, longestLine);
      groups.set(id, group);
    }
  }
  return [...groups.values()];
}

function selectRecords(contract: LandingContract, { files, spelling, values, longestLine }: ReadGroup): string {
  const columns = contract.columns.map(({ name, rule }) => ({ rule, field: spelling[name] ?? name }));
  const fields = columns.map(({ rule, field }) => `${literal(field)}: '${DUCKDB_READER_TYPE[rule]}'`);
  const selected = columns.map(({ rule, field }) => (values === 'final' ? `"${field}"` : cleanValue(rule, field)));
  const numbers = files.map(({ number }) => number);
  const number = numbers.every((value, at) => value === at) ? 'file_index' : `[${numbers.join(', ')}][file_index + 1]`;
  return `select ${number}::INTEGER, ${selected.join(', ')} from ${jsonLines(
    files.map((file) => file.path),
    fields,
    longestLine,
  )}`;
}

/**
 * Stages each incoming record unless it is a duplicate. Equal records have equal hashes, so only records whose hash is seen twice
 * (in the run, or in the run and the staging table) are compared in full: usually none.
 */
async function stageOnce(
  run: DuckDBConnection,
  contract: LandingContract,
  incoming: string,
): Promise<Map<number, { staged: number; duplicate: number }>> {
  const names = contract.columns.map(({ name }) => `"${name}"`);
  const hash = `hash(${names.join(', ')})`;
  const suspects = `suspects_${contract.table}`;
  const insert = `insert into ${contract.feeds} (${[...names, ...(contract.time === undefined ? [] : ['reading_date'])].join(', ')})`;
  const values = [
    ...names,
    ...(contract.time === undefined ? [] : [`date '1970-01-01' + ("${contract.time}" // 86400000)::INTEGER`]),
  ].join(', ');

  if (!(await seenTwice(run, contract, incoming, hash))) {
    await run.run(`${insert} select ${values} from ${incoming}`);
    return countsByFile(run, `select file, count(*) as staged, 0 as duplicate from ${incoming} group by file`);
  }
  await run.run(`
    create or replace temp table ${suspects} as
    select ${hash} as h from ${incoming} group by 1 having count(*) > 1
    union
    select ${hash} from ${contract.feeds} where ${hash} in (select ${hash} from ${incoming})`);
  const same = names.map((name) => `staged.${name} is not distinct from ${name.replace('"', 'first."')}`).join(' and ');
  const firsts = `firsts_${contract.table}`;
  await run.run(`
    create or replace temp table ${firsts} as
    from (from ${incoming} where ${hash} in (from ${suspects}) qualify row_number() over (partition by ${names.join(', ')} order by file) = 1) as first
    where not exists (from ${contract.feeds} as staged where ${same})`);
  await run.run(`${insert} select ${values} from ${incoming} where ${hash} not in (from ${suspects})`);
  await run.run(`${insert} select ${values} from ${firsts}`);
  return countsByFile(
    run,
    `with plain as (
       select file, count(*) filter (${hash} not in (from ${suspects})) as staged, count(*) filter (${hash} in (from ${suspects})) as suspect
       from ${incoming} group by file),
     first as (select file, count(*) as staged from ${firsts} group by file)
     select plain.file, plain.staged + coalesce(first.staged, 0) as staged, plain.suspect - coalesce(first.staged, 0) as duplicate
     from plain left join first using (file)`,
  );
}

async function countsByFile(run: DuckDBConnection, sql: string): Promise<Map<number, { staged: number; duplicate: number }>> {
  const rows = await rowsOf(run, sql, z.object({ file: whole, staged: whole, duplicate: whole }));
  return new Map(rows.map(({ file, staged, duplicate }) => [file, { staged, duplicate }]));
}

/** Whether any two records may be equal: of the incoming ones, or of these and the staged ones. */
async function seenTwice(
  run: DuckDBConnection,
  { feeds, time }: LandingContract,
  incoming: string,
  hash: string,
): Promise<boolean> {
  const { repeated = 0 } = await numbersOf(run, `select count(*) - count(distinct ${hash}) as repeated from ${incoming}`);
  if (repeated > 0) return true;
  // Staged readings of other times can't be equal; DuckDB skips their row groups.
  const { earliest, latest } =
    time === undefined
      ? {}
      : await numbersOf(run, `select min("${time}") as earliest, max("${time}") as latest from ${incoming}`);
  const within = time === undefined ? 'true' : `"${time}" between ${earliest} and ${latest}`;
  return (await countOf(run, `(from ${feeds} where ${within} and ${hash} in (select ${hash} from ${incoming}) limit 1)`)) > 0;
}

async function recordLoads(run: DuckDBConnection, table: LandingTable, runId: string, loads: readonly Load[]): Promise<void> {
  const appender = await run.createAppender('loads');
  for (const { key, version, landed, staged, duplicate, rejected } of loads) {
    for (const text of [table, key, version]) appender.appendVarchar(text);
    for (const count of [landed, staged, duplicate, rejected]) appender.appendBigInt(BigInt(count));
    appender.appendVarchar(runId);
    appender.endRow();
  }
  appender.closeSync();
}
