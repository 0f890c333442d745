import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DuckDBTypeId, StatementType } from '@duckdb/node-api';
import type { DuckDBConnection, Json } from '@duckdb/node-api';
import { LakeUnusableError, messageOf, UsageError } from '../../functions/core/errors.ts';
import { LANDING_TABLES } from '../../functions/core/steps.ts';
import { figure, printable } from '../../functions/core/textTable.ts';
import { createViews, publishedRun } from '../duckdb/counts.ts';
import { createLandingViews } from '../duckdb/landingViews.ts';
import { asPattern, literal, openSession } from '../duckdb/session.ts';
import type { Session } from '../duckdb/session.ts';
import { damageOf, firstLine, saysFull } from '../duckdb/trouble.ts';
import { tablesGone } from '../home.ts';
import { lakePaths } from '../lakePaths.ts';
import { FolderLanding } from '../landing.ts';
import { requireLake, withLedger } from '../lake.ts';
import type { CommandContext, CommonOptions } from '../lake.ts';
import { unknownFieldsIn } from '../ledger.ts';
import type { Output } from '../output.ts';
import { resultFile, writeResult } from '../resultFile.ts';
import type { ResultFile } from '../resultFile.ts';
import { FolderRunFiles, policiesOf } from '../runFiles.ts';
import { mayOnlyBeRead } from '../systemErrors.ts';
import { MOST_SHOWN, rowsText } from '../views/rows.ts';

/**
 * Read-only SQL over all tables; the landing tables read the files in landing as they are.
 * Rows are shown, or written to the file `out`, whose ending sets the format.
 */
export async function query({ options, output }: CommandContext, sql: string, out?: string): Promise<number> {
  requireLake(options.lake);
  const { tables } = lakePaths(options.lake);
  const file = out === undefined ? undefined : resultFile(out, options.lake);
  if (withoutComments(sql) === '') throw new UsageError('query needs SQL, for example "select count(*) from customer_trusted"');
  if (!existsSync(tables)) throw await missing(tables, options);
  const paths = pathsFor(options.lake);
  try {
    const session = await openSession(paths.tables, paths.scratch, { readOnly: true });
    try {
      await answer(session, paths, sql, output, file);
    } finally {
      session.close();
    }
  } finally {
    rmSync(paths.scratch, { recursive: true, force: true });
  }
  return 0;
}

type Paths = ReturnType<typeof lakePaths>;

/** Whoever may only read the lake gets a folder for scratch elsewhere. */
function pathsFor(lake: string): Paths {
  const paths = lakePaths(lake);
  return mayOnlyBeRead(paths.folder) ? { ...paths, scratch: mkdtempSync(path.join(tmpdir(), 'stedi-')) } : paths;
}

async function answer(session: Session, paths: Paths, sql: string, output: Output, file: ResultFile | undefined): Promise<void> {
  const landed = SHOWS_LANDING.test(sql) ? await viewLanding(session, paths, sql) : [];
  const allowed = [...landed.flatMap((each) => [each, asPattern(each)]), ...(file === undefined ? [] : [file.unfinished])];
  await session.connection.run(
    `set allowed_paths = [${allowed.map(literal).join(', ')}]; set enable_external_access = false; set lock_configuration = true`,
  );
  try {
    if (READS_VIEWS.test(sql)) await createPublishedViews(session, paths);
    await requireQuestion(session.connection, sql);
    if (file === undefined) return await show(session.connection, sql, output);
    const rows = await writeResult(session.connection, sql, file);
    const run = (await publishedRun(session.aside))?.runId ?? null;
    const from = run === null ? '' : `, from the tables of ${run}`;
    output.result(
      { file: file.named, rows, run },
      () => `${figure(rows)} ${rows === 1 ? 'row' : 'rows'} in ${file.named}${from}`,
    );
  } catch (error) {
    throw await toldError(error, paths, session, file?.named);
  }
}

/** Creates the views of the landing tables and returns the files that they read. */
async function viewLanding({ connection }: Session, { landing, ledger, scratch }: Paths, sql: string): Promise<string[]> {
  const asked = LANDING_TABLES.filter((table) => sql.toLowerCase().includes(table));
  const landed = { landing: new FolderLanding(landing), unknown: unknownFieldsIn(ledger), asked, scratch };
  return createLandingViews(connection, landed, (text) => console.error(printable(text)));
}

/** Lets the project's own SQL run, whose models, audits and counts read `policy` and `current_customer`: as the published run saw them. */
async function createPublishedViews({ connection }: Session, paths: Paths): Promise<void> {
  const published = await publishedRun(connection);
  if (published === null) return;
  const policies = await policiesOf(new FolderRunFiles(paths.runs), published.runId);
  if (policies !== null) await createViews(connection, policies);
}

/** What a person reads of an error of DuckDB. `out` is the file that rows were to be written to. */
async function toldError(error: unknown, paths: Paths, session: Session, out: string | undefined): Promise<Error> {
  const text = messageOf(error);
  if (error instanceof UsageError) return error;
  const damage = damageOf(paths.tables, error);
  if (damage !== null) return damage;
  if (out !== undefined && /^IO Error/.test(text))
    return new LakeUnusableError(`${out} can't be written: ${text}. Free space, or name a file elsewhere`);
  if (saysFull(error))
    return new LakeUnusableError(
      `${paths.scratch}, which takes what a query can't keep in memory, can't be written: ${firstLine(text)}. Free space, or ask for less`,
    );
  if (/^Out of Memory Error/.test(text))
    return new LakeUnusableError(
      'The query needs more memory than it may use: ask for fewer columns or days, or group by fewer columns',
    );
  return new UsageError(`${text}${await adviceOn(text, session)}`);
}

/** SQL that may read a landing table or list the tables. Listing landing takes long when it holds much. */
const SHOWS_LANDING = /_landing|show|describe|schema|pragma|duckdb_|sqlite_|pg_/i;

/** SQL that may read what models, audits and counts read besides the tables. */
const READS_VIEWS = /policy|current_customer/i;

const BLANKS = String.raw`(?:[\s;]|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)+`;
const EXPLAIN = new RegExp(String.raw`^(?:${BLANKS})?explain\b(?:${BLANKS})?(?:analyze\b|\([^)]*\))?`, 'i');

function withoutComments(sql: string): string {
  return sql.replace(new RegExp(BLANKS, 'g'), '');
}

/** Why there are no tables: they are lost, or nothing has built them yet. */
async function missing(tables: string, options: CommonOptions): Promise<Error> {
  const published = await withLedger(options, ({ ledger }) => ledger.published());
  return published === null
    ? new UsageError(`${options.lake} has no tables yet, because no run has been published; "stedi run" builds them`)
    : new LakeUnusableError(tablesGone(tables, published.runId));
}

/** Refuses several statements, since only one would be answered, and any that may change a file. */
async function requireQuestion(connection: DuckDBConnection, sql: string): Promise<void> {
  const { count } = await connection.extractStatements(sql);
  if (count > 1)
    throw new UsageError(
      `query takes one statement, found ${count}; run them one at a time (a PIVOT without IN (…) counts as two)`,
    );
  if (!(await isQuestion(connection, sql))) throw new UsageError(ONLY_READS);
}

async function show(connection: DuckDBConnection, sql: string, output: Output): Promise<void> {
  const result = await connection.streamAndReadUntil(sql, MOST_SHOWN + 1);
  if (result.currentRowCount > MOST_SHOWN)
    throw new UsageError(
      `query shows ${figure(MOST_SHOWN)} rows at most; write them to a file with --out rows.parquet or rows.csv, or add a limit`,
    );
  const names = result.deduplicatedColumnNames();
  const isWhole = result.columnTypes().map(({ typeId }) => WHOLE.has(typeId));
  const rows = result
    .getRowsJson()
    .map((row) => Object.fromEntries(names.map((name, at) => [name, isWhole[at] ? asNumber(row[at]) : (row[at] ?? null)])));
  output.result(rows, () => planOf(names, rows) ?? rowsText(names, rows));
}

/** EXPLAIN's output is already laid out over several lines. */
function planOf(names: readonly string[], rows: readonly Record<string, Json>[]): string | null {
  return names.includes('explain_value')
    ? rows.map(({ explain_value: plan }) => (typeof plan === 'string' ? plan : '')).join('\n')
    : null;
}

/** Whether a statement only reads. DuckDB lets any readable path be written too, by COPY and by an EXPLAIN ANALYZE of COPY. */
async function isQuestion(connection: DuckDBConnection, sql: string): Promise<boolean> {
  const statements = await connection.extractStatements(sql.replace(EXPLAIN, ''));
  return (await statements.prepare(0)).statementType === StatementType.SELECT;
}

async function adviceOn(message: string, session: Session): Promise<string> {
  if (/read-only/i.test(message)) return `; ${ONLY_READS}`;
  if (/does not exist/i.test(message) && (await publishedRun(session.aside)) === null)
    return '\nNo run was published yet, so only the landing tables can be read; "stedi run" builds the others';
  return '';
}

const ONLY_READS = 'query only reads: the tables are built from the landing files, by "stedi run"';

const WHOLE: ReadonlySet<DuckDBTypeId> = new Set([
  DuckDBTypeId.BIGINT,
  DuckDBTypeId.UBIGINT,
  DuckDBTypeId.HUGEINT,
  DuckDBTypeId.UHUGEINT,
]);

/** Wide integers come as text; those that fit a number become one. */
function asNumber(value: Json | undefined): Json {
  const number = Number(value);
  return value !== null && Number.isSafeInteger(number) ? number : (value ?? null);
}
