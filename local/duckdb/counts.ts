import type { DuckDBConnection } from '@duckdb/node-api';
import { z } from 'zod';
import { auditsSchema } from '../../functions/core/runFiles.ts';
import type { Audits, LoadCounts } from '../../functions/core/runFiles.ts';
import type { Policies } from '../../functions/core/settings.ts';
import { byLandingTable, LANDING_TABLES, PUBLISHED_TABLES } from '../../functions/core/steps.ts';
import type { LandingTable } from '../../functions/core/steps.ts';
import type { PublishedRun } from '../../functions/ports.ts';
import { sqlFiles } from '../projectFiles.ts';
import { countOf, literal, numbersOf, rowsOf, whole } from './session.ts';

/** The policies as SQL reads them: a table of one row. */
export async function createPolicy(connection: DuckDBConnection, { mlJoin, consentFrom }: Policies): Promise<void> {
  await connection.run(
    `create or replace temp table policy as select ${literal(mlJoin)} as ml_join, ${literal(consentFrom)} as consent_from`,
  );
}

/** Sets up what models, audits and counts read besides the published tables; for a session without a run. */
export async function createViews(connection: DuckDBConnection, policies: Policies): Promise<void> {
  await createPolicy(connection, policies);
  await connection.run(`create or replace temp view current_customer as ${sqlFiles('models').get('current_customer') ?? ''}`);
}

/** Rows that each audit returns. */
export async function runAudits(connection: DuckDBConnection): Promise<Audits['audits']> {
  const audits: Audits['audits'] = [];
  for (const [name, sql] of sqlFiles('audits')) audits.push({ name, rows: await countOf(connection, `(${sql})`) });
  return audits;
}

/** The run whose tables a connection sees; null in a lake that never published. */
export async function publishedRun(connection: DuckDBConnection): Promise<PublishedRun | null> {
  const tables = await rowsOf(
    connection,
    "select 1 from duckdb_tables() where schema_name = 'operations' and table_name = 'published'",
    z.unknown(),
  );
  if (tables.length === 0) return null;
  const row = z.object({ run_id: z.string(), definition: z.string() });
  const [published] = await rowsOf(connection, 'select run_id, definition from operations.published', row);
  return published === undefined ? null : { runId: published.run_id, definition: published.definition };
}

/** count(*) of every published table. */
export async function countTables(connection: DuckDBConnection): Promise<Audits['counts']> {
  const selects = PUBLISHED_TABLES.map((table) => `(select count(*) from ${table}) as ${table}`);
  return auditsSchema.shape.counts.parse(await numbersOf(connection, `select ${selects.join(', ')}`));
}

/** All counts of `glue/counts/`, and of the tables. */
export async function countLake(connection: DuckDBConnection): Promise<Omit<Audits, 'runId' | 'seconds' | 'audits'>> {
  const sql = sqlFiles('counts');
  const reasons = async (name: string) => {
    const rows = await rowsOf(connection, sql.get(name) ?? '', z.object({ reason: z.string(), readings: whole }));
    return Object.fromEntries(rows.map(({ reason, readings }) => [reason, readings] as const).sort());
  };
  const loads = await rowsOf(connection, sql.get('loads') ?? '', loadsRow);
  const { same_time: sameTime = 0, same_person: samePerson = 0 } = await numbersOf(connection, sql.get('identity') ?? '');
  return {
    counts: await countTables(connection),
    loads: byLandingTable((table) => loadsOf(loads, table)),
    withheld: { accelerometer: await reasons('withheld_accelerometer'), step_trainer: await reasons('withheld_step_trainer') },
    identity: { sameTime, samePerson, otherPerson: sameTime - samePerson },
    consentsInDoubt: await countOf(connection, `(${sql.get('consents_in_doubt') ?? ''})`),
  };
}

const loadsRow = z.object({
  landing_table: z.enum(LANDING_TABLES),
  landed: whole,
  staged: whole,
  duplicate: whole,
  rejected: whole,
});

function loadsOf(rows: readonly z.infer<typeof loadsRow>[], table: LandingTable): LoadCounts {
  const { landed = 0, staged = 0, duplicate = 0, rejected = 0 } = rows.find((row) => row.landing_table === table) ?? {};
  return { landed, staged, duplicate, rejected };
}
