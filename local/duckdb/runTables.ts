import { mkdir, rm } from 'node:fs/promises';
import type { DuckDBConnection } from '@duckdb/node-api';
import { contractOf, modelContractOf } from '../../functions/core/contracts.ts';
import { LockLostError } from '../../functions/core/errors.ts';
import type { Audits, Manifest, StepMetrics } from '../../functions/core/runFiles.ts';
import { LANDING_TABLES } from '../../functions/core/steps.ts';
import type { LandingTable, ModelTable } from '../../functions/core/steps.ts';
import { sqlFiles } from '../projectFiles.ts';
import { countLake, createPolicy, publishedRun, runAudits } from './counts.ts';
import { countOf, literal } from './session.ts';
import { read, stage } from './staging.ts';
import type { Read, StagingContext } from './staging.ts';
import { createTable, ensureTables } from './tables.ts';

/** One run's version of all tables: one DuckDB transaction, invisible until `publish` commits it. */
export class RunTables {
  readonly #context: StagingContext;
  readonly #connection: DuckDBConnection;
  readonly #manifest: Manifest;
  readonly #models = sqlFiles('models');
  /** What is read of each landing table. All reading begins with the run, to use the cores that writing leaves idle. */
  readonly #reads = new Map<LandingTable, Promise<Read>>();

  private constructor(context: StagingContext, manifest: Manifest) {
    this.#context = context;
    this.#connection = context.session.connection;
    this.#manifest = manifest;
  }

  /** Begins the run's version. */
  static async begin(context: StagingContext, manifest: Manifest): Promise<RunTables> {
    const { connection } = context.session;
    await rm(context.scratchFolder, { recursive: true, force: true });
    await mkdir(context.scratchFolder, { recursive: true });
    await connection.run(`
      begin;
      create schema if not exists operations;
      create table if not exists operations.published (run_id VARCHAR, definition VARCHAR)`);
    await createPolicy(connection, manifest.policies);
    await ensureTables(connection);
    const tables = new RunTables(context, manifest);
    tables.#readAhead();
    return tables;
  }

  /** Resolves when nothing reads any more. */
  async end(): Promise<void> {
    await Promise.allSettled(this.#reads.values());
  }

  #readAhead(): void {
    let before: Promise<unknown> = Promise.resolve();
    for (const table of LANDING_TABLES) {
      const files = this.#manifest.files.filter((file) => file.table === table);
      const reading = before.then(() => read(this.#context, table, files));
      before = reading.catch(() => undefined); // the step that stages the table meets the error
      this.#reads.set(table, reading);
    }
  }

  /** The job of one table: stages its landing table if it has one, then builds the table from its model. */
  async build(step: ModelTable, onStaged: (staging: NonNullable<StepMetrics['staging']>) => void): Promise<StepMetrics> {
    const started = performance.now();
    const connection = this.#connection;
    const landingTable = contractOf(step).stages;
    const staging = landingTable === undefined ? undefined : await this.#stage(landingTable);
    if (staging !== undefined) onStaged(staging);

    const rowsBefore = await countOf(connection, step);
    if (step === 'customer_trusted') {
      await connection.run('create or replace temp table previous_people as from customer_trusted');
      await connection.run(`create or replace temp table current_customer as ${this.#model('current_customer')}`);
      await this.#replace(step);
      await rememberExcepted(connection);
    }
    const rowsExcepted = await countExcepted(connection, step);
    if (step !== 'customer_trusted') await this.#replace(step);

    const seconds = Math.round(performance.now() - started) / 1000;
    return {
      step,
      runId: this.#manifest.runId,
      seconds,
      rows: await countOf(connection, step),
      rowsBefore,
      rowsExcepted,
      ...(staging && { staging }),
    };
  }

  /** Runs all audits and counts on the run's version. */
  async audit(): Promise<Audits> {
    const started = performance.now();
    const connection = this.#connection;
    const audits = await runAudits(connection);
    const counted = await countLake(connection);
    return { runId: this.#manifest.runId, ...counted, audits, seconds: Math.round(performance.now() - started) / 1000 };
  }

  /** @throws LockLostError if the visible version is no longer the one that the run started from */
  async checkUnmoved(): Promise<void> {
    const { previous } = this.#manifest;
    const found = (await publishedRun(this.#connection))?.runId ?? null;
    if (found === previous) return;
    throw new LockLostError(
      `the lake shows run ${found ?? 'none'}, but this run started from ${previous ?? 'none'}; start a new run`,
    );
  }

  /** Makes the run's version the visible one. */
  async publish(): Promise<void> {
    const { runId, definition } = this.#manifest;
    await this.#connection.run(
      `delete from operations.published; insert into operations.published values (${literal(runId)}, ${literal(definition)}); commit`,
    );
  }

  async #stage(table: LandingTable) {
    const reading = this.#reads.get(table);
    if (reading === undefined) throw new Error(`${table} was not read`);
    return stage(this.#context, table, await reading);
  }

  async #replace(step: ModelTable): Promise<void> {
    const connection = this.#connection;
    const columns = contractOf(step)
      .columns.map(({ name }) => `"${name}"`)
      .join(', ');
    // A model may not read its own table, so that is emptied first.
    await createTable(connection, contractOf(step));
    await connection.run(`insert into ${step} (${columns}) select ${columns} from (${this.#model(step)})`);
  }

  #model(name: string): string {
    const sql = this.#models.get(name);
    if (sql === undefined) throw new Error(`glue/models/${name}.sql is missing`);
    return sql;
  }
}

/** People and devices whose rows may go, as tables. */
async function rememberExcepted(connection: DuckDBConnection): Promise<void> {
  for (const [name, sql] of sqlFiles('excepted')) await connection.run(`create or replace temp table excepted_${name} as ${sql}`);
}

/** A table's rows that may go with this run, before it is replaced; customer_trusted, replaced already, as it was. */
async function countExcepted(connection: DuckDBConnection, step: ModelTable): Promise<number> {
  const { leavesWith } = modelContractOf(step);
  const rows = step === 'customer_trusted' ? 'previous_people' : step;
  return countOf(connection, `(select 1 from ${rows} where "${leavesWith.column}" in (from excepted_${leavesWith.excepted}))`);
}
