import type { DuckDBConnection } from '@duckdb/node-api';
import { z } from 'zod';
import { contractOf } from '../../functions/core/contracts.ts';
import type { Column, TableContract } from '../../functions/core/contracts.ts';
import { LakeUnusableError } from '../../functions/core/errors.ts';
import { PUBLISHED_TABLES } from '../../functions/core/steps.ts';
import { literal, rowsOf } from './session.ts';
import { REBUILD_ADVICE } from './trouble.ts';

const DUCKDB_TYPE: Record<Column['type'], string> = { STRING: 'VARCHAR', BIGINT: 'BIGINT', DOUBLE: 'DOUBLE', DATE: 'DATE' };

/**
 * Creates missing tables from their contracts, and adds columns that a contract has gained.
 * @throws LakeUnusableError when a contract has lost or retyped a column that the table has
 */
export async function ensureTables(connection: DuckDBConnection): Promise<void> {
  const existing = await existingColumns(connection);
  for (const table of PUBLISHED_TABLES) {
    const contract = contractOf(table);
    const columns = existing.get(table);
    if (columns === undefined) await createTable(connection, contract);
    else await evolveTable(connection, contract, columns);
  }
}

/** Creates an empty table from its contract, replacing any there is, under the contract's name or another. */
export async function createTable(
  connection: DuckDBConnection,
  { table: own, grain, columns }: TableContract,
  table: string = own,
): Promise<void> {
  const definitions = columns.map(({ name, type }) => `"${name}" ${type}`);
  const comments = columns.map(({ name, comment }) => `comment on column ${table}."${name}" is ${literal(comment)};`);
  await connection.run(
    `create or replace table ${table} (${definitions.join(', ')}); comment on table ${table} is ${literal(grain)}; ${comments.join(' ')}`,
  );
}

async function existingColumns(connection: DuckDBConnection): Promise<Map<string, Map<string, string>>> {
  const tables = new Map<string, Map<string, string>>();
  const rows = await rowsOf(
    connection,
    "select table_name, column_name, data_type from duckdb_columns() where database_name = current_database() and schema_name = 'main' and not internal",
    z.object({ table_name: z.string(), column_name: z.string(), data_type: z.string() }),
  );
  for (const { table_name, column_name, data_type } of rows) {
    const columns = tables.get(table_name) ?? new Map<string, string>();
    tables.set(table_name, columns.set(column_name, data_type));
  }
  return tables;
}

async function evolveTable(
  connection: DuckDBConnection,
  { table, columns }: TableContract,
  existing: Map<string, string>,
): Promise<void> {
  const wanted = new Map(columns.map(({ name, type }) => [name, DUCKDB_TYPE[type]]));
  for (const [name, type] of existing) {
    const expected = wanted.get(name);
    if (expected === type) continue;
    throw new LakeUnusableError(
      expected === undefined
        ? `glue/tables/${table}.json no longer has the column ${name} that the table has; keep it, or ${REBUILD_ADVICE}`
        : `glue/tables/${table}.json: ${name} is ${expected}, but the table has ${type}; a column can't change its type; add a new one, or ${REBUILD_ADVICE}`,
    );
  }
  for (const { name, type, comment } of columns) {
    if (existing.has(name)) continue;
    await connection.run(
      `alter table ${table} add column "${name}" ${type}; comment on column ${table}."${name}" is ${literal(comment)}`,
    );
  }
}
