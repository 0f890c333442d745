import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { z } from 'zod';
import { contractOf, stagedBy } from '../../functions/core/contracts.ts';
import { LockLostError } from '../../functions/core/errors.ts';
import { auditsSchema } from '../../functions/core/runFiles.ts';
import type { Audits, LoadCounts, Manifest, StepMetrics } from '../../functions/core/runFiles.ts';
import type { Policies } from '../../functions/core/settings.ts';
import { LANDING_TABLES, PUBLISHED_TABLES } from '../../functions/core/steps.ts';
import type { LandingTable, ModelTable } from '../../functions/core/steps.ts';
import { sqlFiles } from '../sources.ts';
import { countOf, literal, numbersOf, rowsOf, whole } from './session.ts';
import type { Session } from './session.ts';
import { stage } from './stage.ts';
import { createTable, ensureTables } from './tables.ts';

/** Where a lake keeps what a run needs. */
export interface RunFolders {
  landingRoot: string;
  scratchFolder: string;
  runFolder: string;
}

/** One run's version of all tables: one DuckDB transaction, invisible until `publish` commits it. */
export class RunTables {
  readonly #session: Session;
  readonly #manifest: Manifest;
  readonly #folders: RunFolders;
  readonly #models = sqlFiles('models');

  private constructor(session: Session, manifest: Manifest, folders: RunFolders) {
    this.#session = session;
    this.#manifest = manifest;
    this.#folders = folders;
  }

  /** Begins the run's version. */
  static async begin(session: Session, manifest: Manifest, folders: RunFolders): Promise<RunTables> {
    await rm(folders.scratchFolder, { recursive: true, force: true });
    await mkdir(folders.scratchFolder, { recursive: true });
    const { mlJoin, consentFrom } = manifest.policies;
    await session.run.run(`
      begin;
      create schema if not exists operations;
      create table if not exists operations.published (run_id VARCHAR, definition VARCHAR);
      create or replace temp table policy as select ${literal(mlJoin)} as ml_join, ${literal(consentFrom)} as consent_from`);
    await ensureTables(session.run);
    return new RunTables(session, manifest, folders);
  }

  /** The job of one table: stages its landing table where it has one, then builds the table from its model. */
  async build(step: ModelTable, onStaged: (staging: NonNullable<StepMetrics['staging']>) => void): Promise<StepMetrics> {
    const started = performance.now();
    const { run } = this.#session;
    const landingTable = stagedBy(step);
    const staging = landingTable === undefined ? undefined : await this.#stage(landingTable);
    if (staging !== undefined) onStaged(staging);

    const rowsBefore = await countOf(run, step);
    if (step === 'customer_trusted') {
      await run.run('create or replace temp table previous_people as select email, serialnumber from customer_trusted');
      await run.run(`create or replace temp table current_customer as ${this.#model('current_customer')}`);
      await this.#replace(step);
      await rememberWithdrawn(run);
    }
    const rowsExcepted = await countExcepted(run, step);
    if (step !== 'customer_trusted') await this.#replace(step);

    const seconds = Math.round(performance.now() - started) / 1000;
    return {
      step,
      runId: this.#manifest.runId,
      seconds,
      rows: await countOf(run, step),
      rowsBefore,
      rowsExcepted,
      ...(staging && { staging }),
    };
  }

  /** Runs all audits and counts on the run's version. */
  async audit(): Promise<Audits> {
    const started = performance.now();
    const { run } = this.#session;
    const audits = await runAudits(run);
    const counted = await countLake(run);
    return { runId: this.#manifest.runId, ...counted, audits, seconds: Math.round(performance.now() - started) / 1000 };
  }

  /** Makes the run's version the visible one. */
  async publish(): Promise<void> {
    const { run } = this.#session;
    const { runId, definition, previous } = this.#manifest;
    const found = await publishedRun(run);
    if (found !== previous) {
      throw new LockLostError(
        `the lake shows run ${found ?? 'none'}, but this run started from ${previous ?? 'none'}; start a new run`,
      );
    }
    await run.run(
      `delete from operations.published; insert into operations.published values (${literal(runId)}, ${literal(definition)}); commit`,
    );
  }

  async #stage(table: LandingTable) {
    const { runId, files } = this.#manifest;
    const { landingRoot, scratchFolder, runFolder } = this.#folders;
    const context = { session: this.#session, runId, landingRoot, scratchFolder, rejectsFolder: path.join(runFolder, 'rejects') };
    return stage(
      context,
      table,
      files.filter((file) => file.table === table),
    );
  }

  async #replace(step: ModelTable): Promise<void> {
    const { run } = this.#session;
    const columns = contractOf(step)
      .columns.map(({ name }) => `"${name}"`)
      .join(', ');
    // Built beside the old table, which a model may not read, and put in its place.
    await createTable(run, contractOf(step));
    await run.run(`insert into ${step} (${columns}) select ${columns} from (${this.#model(step)})`);
  }

  #model(name: string): string {
    const sql = this.#models.get(name);
    if (sql === undefined) throw new Error(`glue/models/${name}.sql is missing`);
    return sql;
  }
}

/** Sets up what models, audits and counts read besides the published tables; for a session without a run. */
export async function createViews(connection: DuckDBConnection, { mlJoin, consentFrom }: Policies): Promise<void> {
  await connection.run(
    `create or replace temp table policy as select ${literal(mlJoin)} as ml_join, ${literal(consentFrom)} as consent_from`,
  );
  await connection.run(`create or replace temp view current_customer as ${sqlFiles('models').get('current_customer') ?? ''}`);
}

/** Rows that each audit returns. */
export async function runAudits(connection: DuckDBConnection): Promise<Audits['audits']> {
  const audits: Audits['audits'] = [];
  for (const [name, sql] of sqlFiles('audits')) audits.push({ name, rows: await countOf(connection, `(${sql})`) });
  return audits;
}

/** The run whose tables a connection sees; null in a lake that never published. */
export async function publishedRun(connection: DuckDBConnection): Promise<string | null> {
  const tables = await rowsOf(
    connection,
    "select 1 from duckdb_tables() where schema_name = 'operations' and table_name = 'published'",
    z.unknown(),
  );
  if (tables.length === 0) return null;
  const [row] = await rowsOf(connection, 'select run_id from operations.published', z.object({ run_id: z.string() }));
  return row?.run_id ?? null;
}

/** count(*) of every published table. */
export async function countTables(connection: DuckDBConnection): Promise<Audits['counts']> {
  const selects = PUBLISHED_TABLES.map((table) => `(select count(*) from ${table}) as ${table}`);
  return auditsSchema.shape.counts.parse(await numbersOf(connection, `select ${selects.join(', ')}`));
}

/** All counts of `glue/counts/`, and of the tables. */
export async function countLake(
  connection: DuckDBConnection,
): Promise<Pick<Audits, 'counts' | 'loads' | 'withheld' | 'identity'>> {
  const sql = sqlFiles('counts');
  const reasons = async (name: string) => {
    const rows = await rowsOf(connection, sql.get(name) ?? '', z.object({ reason: z.string(), readings: whole }));
    return Object.fromEntries(rows.map(({ reason, readings }) => [reason, readings] as const).sort());
  };
  const loads = await rowsOf(connection, sql.get('loads') ?? '', loadsRow);
  const { same_time: sameTime = 0, same_person: samePerson = 0 } = await numbersOf(connection, sql.get('identity') ?? '');
  return {
    counts: await countTables(connection),
    loads: {
      customer_landing: loadsOf(loads, 'customer_landing'),
      accelerometer_landing: loadsOf(loads, 'accelerometer_landing'),
      step_trainer_landing: loadsOf(loads, 'step_trainer_landing'),
    },
    withheld: { accelerometer: await reasons('withheld_accelerometer'), step_trainer: await reasons('withheld_step_trainer') },
    identity: { sameTime, samePerson, otherPerson: sameTime - samePerson },
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

/** People and devices whose rows may go: of those trusted before, who withdrew, and which are now held by more than one person. */
async function rememberWithdrawn(run: DuckDBConnection): Promise<void> {
  await run.run(`
    create or replace temp table excepted_people as
      select email from previous_people where email not in (select email from customer_trusted);
    create or replace temp table excepted_devices as
      select serialnumber from previous_people where serialnumber is not null and (
        email in (from excepted_people)
        or serialnumber in (select serialnumber from current_customer where serialnumber is not null group by serialnumber having count(*) > 1))`);
}

const OF_EXCEPTED: Record<ModelTable, string> = {
  customer_trusted: 'false', // replaced before the question is asked: counted as people
  accelerometer_trusted: '"user" in (from excepted_people)',
  customers_curated: 'email in (from excepted_people)',
  step_trainer_trusted: 'email in (from excepted_people) or serialnumber in (from excepted_devices)',
  machine_learning_curated: 'serialnumber in (from excepted_devices)',
};

async function countExcepted(run: DuckDBConnection, step: ModelTable): Promise<number> {
  if (step === 'customer_trusted') return countOf(run, 'excepted_people');
  return countOf(run, `(select 1 from ${step} where ${OF_EXCEPTED[step]})`);
}
