import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rename, stat } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { DuckDBConnection } from '@duckdb/node-api';
import { z } from 'zod';
import { contractOf, landingContractOf } from '../../functions/core/contracts.ts';
import type { LandingColumn, LandingContract } from '../../functions/core/contracts.ts';
import { LandingChangedError } from '../../functions/core/errors.ts';
import { versionName } from '../../functions/core/fileVersions.ts';
import { REJECTS_ENDING } from '../../functions/core/runFiles.ts';
import type { Manifest, StepMetrics } from '../../functions/core/runFiles.ts';
import type { LandingTable } from '../../functions/core/steps.ts';
import { versionOf } from '../landing.ts';
import { gunzipped } from '../gunzipped.ts';
import { scanAll } from '../reader/scanAll.ts';
import type { Scanned } from '../reader/scan.ts';
import { publishedRun } from './counts.ts';
import { countsByFile, removeDuplicates } from './duplicates.ts';
import { countOf, fileList, literal, rowsOf, whole } from './session.ts';
import type { Session } from './session.ts';
import { createTable } from './tables.ts';

export interface StagingContext {
  session: Session;
  runId: string;
  landingRoot: string;
  scratchFolder: string;
  /** `runs/<runId>` */
  runFolder: string;
}

type ManifestFile = Manifest['files'][number];
type Load = NonNullable<StepMetrics['staging']>['files'][number];

interface Incoming extends ManifestFile {
  path: string;
  scanned: Scanned;
}

/** Landing files of one table as read, and the counts of those already in the lake. */
export interface Read {
  incoming: Incoming[];
  known: Map<string, Load>;
}

/** Reads the claimed files of a landing table; file versions that the lake already holds are not read again. Touches no table. */
export async function read(context: StagingContext, table: LandingTable, files: readonly ManifestFile[]): Promise<Read> {
  const known = await alreadyLoaded(context.session.aside, table, files);
  const incoming = await scanFiles(
    context,
    landingContractOf(table),
    files.filter((file) => !known.has(versionName(file))),
  );
  return { incoming, known };
}

/** Stages what was read: keeps each valid record once, and records loads and rejects, all in the run's transaction. */
export async function stage(
  context: StagingContext,
  table: LandingTable,
  { incoming, known }: Read,
): Promise<NonNullable<StepMetrics['staging']>> {
  const started = performance.now();
  const { connection } = context.session;
  const contract = landingContractOf(table);
  const rowsBefore = await countOf(connection, contract.feeds);
  await loadRejects(context, table, incoming);
  // DuckDB reads clean files in place and is exact only for what was scanned, so a file that changed since was judged wrongly.
  const counts = await loadRecords(context, contract, incoming).finally(() => checkVersions(incoming));
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
  await recordLoads(connection, table, context.runId, loads);
  return {
    landingTable: table,
    seconds: Math.round(performance.now() - started) / 1000,
    rows: await countOf(connection, contract.feeds),
    rowsBefore,
    files: [...known.values(), ...loads],
  };
}

/** What the lake knows of file versions that an earlier run published without the ledger knowing (docs/architecture.md, "Crashes"). */
async function alreadyLoaded(
  connection: DuckDBConnection,
  table: LandingTable,
  files: readonly ManifestFile[],
): Promise<Map<string, Load>> {
  if (files.length === 0 || (await publishedRun(connection)) === null) return new Map();
  const wanted = new Set(files.map(versionName));
  const keys = files.map(({ key }) => literal(key)).join(', ');
  const loads = await rowsOf(
    connection,
    `select file as key, version, landed, staged, duplicate, rejected from loads where landing_table = ${literal(table)} and file in (${keys})`,
    z.object({ key: z.string(), version: z.string(), landed: whole, staged: whole, duplicate: whole, rejected: whole }),
  );
  const known = loads.filter((load) => wanted.has(versionName(load)));
  return new Map(known.map((load) => [versionName(load), { ...load, reasons: {}, unknownFields: [], known: true }]));
}

async function scanFiles(
  context: StagingContext,
  contract: LandingContract,
  files: readonly ManifestFile[],
): Promise<Incoming[]> {
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
      if (found !== null && versionOf(found) === version) return;
      throw new LandingChangedError(
        `${key} ${found === null ? 'vanished' : 'was overwritten'} after the run had claimed it; start a new run`,
      );
    }),
  );
}

async function loadRejects(
  { session, runFolder }: StagingContext,
  table: LandingTable,
  incoming: readonly Incoming[],
): Promise<void> {
  const rejects = incoming.flatMap(({ scanned }) => scanned.rejects ?? []);
  if (rejects.length === 0) return;
  const kept = path.join(runFolder, 'rejects', `${table}${REJECTS_ENDING}`);
  await mkdir(path.dirname(kept), { recursive: true });
  // As one gzip member: behind the end of a member, DuckDB 1.5 rarely, but silently, reads nothing more.
  await pipeline(unpacked(rejects), createGzip({ level: 1 }), createWriteStream(`${kept}.part`));
  await rename(`${kept}.part`, kept);
  const columns = contractOf('rejected').columns.map(({ name, type }) => `${literal(name)}: ${literal(type)}`);
  const longest = Math.max(...rejects.map(({ longestLine }) => longestLine));
  await session.connection.run(`insert into rejected by name from ${jsonLines([kept], columns, longest, 'gzip')}`);
}

async function* unpacked(files: readonly { path: string }[]): AsyncGenerator<Uint8Array> {
  for (const { path: file } of files) yield* gunzipped(createReadStream(file));
}

const DUCKDB_READER_TYPE: Record<LandingColumn['rule'], string> = {
  text: 'VARCHAR',
  email: 'VARCHAR',
  integer: 'BIGINT',
  time: 'BIGINT',
  consent: 'BIGINT',
  double: 'DOUBLE',
};

/** A column's value from a field of a clean line. */
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

function jsonLines(
  paths: readonly string[],
  columns: readonly string[],
  longestLine: number,
  compression: 'uncompressed' | 'gzip' = 'uncompressed',
): string {
  // The reader's limit is for one object; its default of 16 MiB keeps its buffers small.
  const limit = Math.max(16 * 1024 * 1024, longestLine + 1024);
  return `read_json(${fileList(paths)}, columns = {${columns.join(', ')}}, format = 'newline_delimited', auto_detect = false, hive_partitioning = false, compression = '${compression}', maximum_object_size = ${limit})`;
}

/** Loads the valid records of all files and returns how many of each file were staged and how many were duplicates. */
async function loadRecords(
  { session: { connection } }: StagingContext,
  contract: LandingContract,
  incoming: readonly Incoming[],
): Promise<{ staged: number; duplicate: number }[]> {
  const { feeds } = contract;
  const arrived = `${feeds}_arrived`;
  // Everything is read before anything is counted; the reader has made sure that no line can fail here.
  await createTable(connection, contractOf(feeds), arrived);
  await connection.run(`alter table ${arrived} add column file INTEGER`);
  for (const group of readGroups(incoming))
    await connection.run(`insert into ${arrived} by name ${selectRecords(contract, group)}`);
  const valid = await countsByFile(connection, `select file, count(*) as records from ${arrived} group by file`);
  const duplicates = await removeDuplicates(connection, contract, arrived);

  await connection.run(`alter table ${arrived} drop column file`);
  if ((await countOf(connection, feeds)) === 0)
    await connection.run(`drop table ${feeds}; alter table ${arrived} rename to ${feeds}`);
  else await connection.run(`insert into ${feeds} by name from ${arrived}; drop table ${arrived}`);
  return incoming.map((_, file) => {
    const duplicate = duplicates.get(file) ?? 0;
    return { staged: (valid.get(file) ?? 0) - duplicate, duplicate };
  });
}

interface ReadGroup {
  files: { number: number; path: string }[];
  spelling: Record<string, string>;
  values: 'as landed' | 'final';
  longestLine: number;
}

/** Files for one reader call each: those that write the columns alike. */
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
  const columns = contract.columns.map(({ name, rule }) => ({ name, rule, field: spelling[name] ?? name }));
  const fields = columns.map(({ rule, field }) => `${literal(field)}: '${DUCKDB_READER_TYPE[rule]}'`);
  const selected = columns.map(
    ({ name, rule, field }) => `${values === 'final' ? `"${field}"` : cleanValue(rule, field)} as "${name}"`,
  );
  const numbers = files.map(({ number }) => number);
  const number = numbers.every((value, at) => value === at) ? 'file_index' : `[${numbers.join(', ')}][(file_index + 1)::BIGINT]`;
  if (contract.time !== undefined)
    selected.push(`date '1970-01-01' + ("${spelling[contract.time] ?? contract.time}" // 86400000)::INTEGER as reading_date`);
  return `select ${selected.join(', ')}, ${number}::INTEGER as file from ${jsonLines(
    files.map((file) => file.path),
    fields,
    longestLine,
  )}`;
}

async function recordLoads(
  connection: DuckDBConnection,
  table: LandingTable,
  runId: string,
  loads: readonly Load[],
): Promise<void> {
  const appender = await connection.createAppender('loads');
  for (const { key, version, landed, staged, duplicate, rejected } of loads) {
    for (const text of [table, key, version]) appender.appendVarchar(text);
    for (const count of [landed, staged, duplicate, rejected]) appender.appendBigInt(BigInt(count));
    appender.appendVarchar(runId);
    appender.endRow();
  }
  appender.closeSync();
}
