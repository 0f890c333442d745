import path from 'node:path';
import { z } from 'zod';
import { contractOf } from '../../functions/core/contracts.ts';
import type { Policies } from '../../functions/core/settings.ts';
import { MODEL_TABLES } from '../../functions/core/steps.ts';
import type { ModelTable, PublishedTable } from '../../functions/core/steps.ts';
import { countLake, createViews, runAudits } from '../../local/duckdb/counts.ts';
import { literal, openSession, rowsOf } from '../../local/duckdb/session.ts';
import type { Session } from '../../local/duckdb/session.ts';
import { createTable, ensureTables } from '../../local/duckdb/tables.ts';
import { sqlFiles } from '../../local/projectFiles.ts';
import type { Row, Value } from '../reference/index.ts';
import { rowsOfTable } from './tables.ts';

const DEFAULT: Policies = { mlJoin: 'person-and-time', consentFrom: 'any-time' };

/** Tables that are given rows, models built from them, and counts and audits over all of it. */
export class ModelBench {
  readonly #session: Session;

  private constructor(session: Session) {
    this.#session = session;
  }

  static async open(folder: string): Promise<ModelBench> {
    const session = await openSession(path.join(folder, 'tables.duckdb'), folder);
    await ensureTables(session.connection);
    await createViews(session.connection, DEFAULT);
    return new ModelBench(session);
  }

  close(): void {
    this.#session.close();
  }

  /** Empties every table and goes back to the default policies. */
  async reset(): Promise<void> {
    await this.#session.connection.run(
      ['staging', 'trusted', 'curated', 'operations']
        .flatMap(tablesOfZone)
        .map((table) => `truncate ${table};`)
        .join(' '),
    );
    await createViews(this.#session.connection, DEFAULT);
  }

  /** Adds rows to a table; omitted columns are null, and the reading date follows from the time. */
  async given(table: PublishedTable, rows: readonly Readonly<Record<string, Value>>[]): Promise<void> {
    if (rows.length === 0) return;
    const { columns } = contractOf(table);
    const values = rows.map((row) => {
      const time = row['timestamp'] ?? row['sensorreadingtime'];
      const all: Row = { ...(time != null && { reading_date: new Date(Number(time)).toISOString().slice(0, 10) }), ...row };
      const unknown = Object.keys(row).filter((name) => !columns.some((column) => column.name === name));
      if (unknown.length > 0) throw new Error(`${table} has no column ${unknown.join(', ')}`);
      return `(${columns.map(({ name }) => sqlValue(all[name])).join(', ')})`;
    });
    await this.#session.connection.run(`insert into ${table} values ${values.join(', ')}`);
  }

  /** Builds the tables of all models, in their order. */
  async build(policies: Partial<Policies> = {}): Promise<void> {
    await createViews(this.#session.connection, { ...DEFAULT, ...policies });
    for (const table of MODEL_TABLES) {
      await createTable(this.#session.connection, contractOf(table));
      await this.#session.connection.run(`insert into ${table} by name ${sqlFiles('models').get(table) ?? ''}`);
    }
  }

  async run(sql: string): Promise<void> {
    await this.#session.connection.run(sql);
  }

  async rows(table: PublishedTable): Promise<Row[]> {
    return rowsOfTable(this.#session.connection, table);
  }

  /** The current record of each person. */
  async currentCustomers(): Promise<Row[]> {
    await this.#session.connection.run('create or replace table customer_trusted as from current_customer');
    return rowsOfTable(this.#session.connection, 'customer_trusted');
  }

  /** Values of one column of a table, sorted. */
  async values(table: ModelTable, column: string): Promise<Value[]> {
    return (await this.rows(table)).map((row) => row[column] ?? null).sort();
  }

  /** One column of a query of `glue/excepted/`, which reads `previous_people`. */
  async excepted(name: 'people' | 'devices', column: string): Promise<Value[]> {
    const row = z.record(z.string(), z.string().nullable());
    return (await rowsOf(this.#session.connection, sqlFiles('excepted').get(name) ?? '', row)).map(
      (each) => each[column] ?? null,
    );
  }

  async counts(): ReturnType<typeof countLake> {
    return countLake(this.#session.connection);
  }

  /** How many rows each audit returns, by name. */
  async audits(): Promise<Record<string, number>> {
    return Object.fromEntries((await runAudits(this.#session.connection)).map(({ name, rows }) => [name, rows]));
  }
}

function tablesOfZone(zone: string): PublishedTable[] {
  const all: PublishedTable[] = [
    'customer_staging',
    'accelerometer_staging',
    'step_trainer_staging',
    'loads',
    'rejected',
    ...MODEL_TABLES,
  ];
  return all.filter((table) => contractOf(table).zone === zone);
}

function sqlValue(value: Value | undefined): string {
  if (value === null || value === undefined) return 'null';
  return typeof value === 'string' ? literal(value) : String(value);
}
