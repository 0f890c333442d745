import type { DuckDBConnection } from '@duckdb/node-api';
import { z } from 'zod';
import { contractOf } from '../../functions/core/contracts.ts';
import type { Column } from '../../functions/core/contracts.ts';
import type { PublishedTable } from '../../functions/core/steps.ts';
import { sorted } from '../reference/index.ts';
import type { Row, Value } from '../reference/index.ts';

const VALUE: Record<Column['type'], z.ZodType<Value>> = {
  STRING: z.string().nullable(),
  BIGINT: z
    .string()
    .nullable()
    .transform((digits) => (digits === null ? null : BigInt(digits))),
  DOUBLE: z.number().nullable(),
  DATE: z.iso.date().nullable(),
};

/** The rows of a table as the contract types them: the same values as in the tables of the reference. */
export async function rowsOfTable(connection: DuckDBConnection, table: PublishedTable): Promise<Row[]> {
  const columns = contractOf(table).columns;
  const row = z.strictObject(Object.fromEntries(columns.map(({ name, type }) => [name, VALUE[type]])));
  const names = columns.map(({ name }) => `"${name}"`).join(', ');
  return z.array(row).parse((await connection.runAndReadAll(`select ${names} from ${table}`)).getRowObjectsJson());
}

/** Several tables as sorted lists of row texts, for comparison. */
export async function sortedTables(
  connection: DuckDBConnection,
  tables: readonly PublishedTable[],
): Promise<Record<string, string[]>> {
  const found: Record<string, string[]> = {};
  for (const table of tables) found[table] = sorted(await rowsOfTable(connection, table));
  return found;
}
