import { existsSync } from 'node:fs';
import path from 'node:path';
import { DuckDBTypeId } from '@duckdb/node-api';
import type { Json } from '@duckdb/node-api';
import { landingContractOf } from '../../functions/core/contracts.ts';
import { messageOf, UsageError } from '../../functions/core/errors.ts';
import { LANDING_TABLES } from '../../functions/core/steps.ts';
import type { LandingTable } from '../../functions/core/steps.ts';
import { publishedRun } from '../duckdb/counts.ts';
import { openSession } from '../duckdb/session.ts';
import type { Session } from '../duckdb/session.ts';
import { lakePaths } from '../home.ts';
import { FolderLanding } from '../landing.ts';
import { requireLake } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import { rowsText } from '../views/rows.ts';

/** Read-only SQL over all tables; the landing tables read the files in landing as they are. */
export async function query({ options, output }: CommandContext, sql: string): Promise<number> {
  requireLake(options.lake);
  const paths = lakePaths(options.lake);
  if (!existsSync(paths.tables)) throw new UsageError(`${options.lake} has no tables yet; "stedi run" builds them`);
  const session = await openSession(paths.tables, paths.scratch, { readOnly: true });
  try {
    await createLandingViews(session, paths.landing);
    await session.run.run(
      `set allowed_directories = ['${path.resolve(paths.landing).replaceAll("'", "''")}/']; set enable_external_access = false; set lock_configuration = true`,
    );
    const result = await session.run.runAndReadAll(sql).catch(async (error: unknown) => {
      throw new UsageError(`${messageOf(error)}${await adviceOn(messageOf(error), session)}`);
    });
    const names = result.deduplicatedColumnNames();
    const whole = result.columnTypes().map(({ typeId }) => WHOLE.has(typeId));
    const rows = result
      .getRowsJson()
      .map((row) => Object.fromEntries(names.map((name, at) => [name, whole[at] ? asNumber(row[at]) : (row[at] ?? null)])));
    output.result(rows, () => rowsText(names, rows));
    return 0;
  } finally {
    session.close();
  }
}

async function adviceOn(message: string, session: Session): Promise<string> {
  if (/read-only/i.test(message)) return '; query only reads: tables follow from the landing files, "stedi run" builds them';
  if (/does not exist/i.test(message) && (await publishedRun(session.aside)) === null)
    return '\nNo run was published yet, so only the landing tables can be read; "stedi run" builds the others';
  return '';
}

async function createLandingViews(session: Session, landing: string): Promise<void> {
  const filled = new Set<LandingTable>();
  for await (const page of new FolderLanding(landing).list()) for (const file of page) filled.add(file.table);
  for (const name of LANDING_TABLES.filter((candidate) => filled.has(candidate))) {
    const { columns } = landingContractOf(name);
    const fields = columns.map(({ spellings, name: column }) => `'${spellings[0] ?? column}': 'VARCHAR'`);
    const folder = path.resolve(landing, name).replace(/[[*?]/g, '[$&]').replaceAll("'", "''");
    await session.run.run(
      `create temp view ${name} as from read_json('${folder}/**', columns = {${fields.join(', ')}}, format = 'newline_delimited', ignore_errors = true)`,
    );
  }
}

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
