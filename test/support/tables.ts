import type { DuckDBConnection } from '@duckdb/node-api';
import { z } from 'zod';
import { contractOf } from '../../functions/core/contracts.ts';
import type { Column } from '../../functions/core/contracts.ts';
import type { PublishedTable } from '../../functions/core/steps.ts';
import type { Row, Value } from '../reference/index.ts';

const VALUE: Record<Column['type'], z.ZodType<Value>> = {
  STRING: z
    .string()
    .nullable()
    .transform((text) => text?.slice(1) ?? null),
  BIGINT: z
    .string()
    .nullable()
    .transform((digits) => (digits === null ? null : BigInt(digits))),
  DOUBLE: z.number().nullable(),
  DATE: z.iso.date().nullable(),
};

/** The rows of a table as the contract types them: the same values as in the reference's tables. */
export async function rowsOfTable(connection: DuckDBConnection, table: PublishedTable): Promise<Row[]> {
  const columns = contractOf(table).columns;
  const row = z.strictObject(Object.fromEntries(columns.map(({ name, type }) => [name, VALUE[type]])));
  // The client drops a byte order mark at the start of text: after another character, it stays.
  const values = columns.map(({ name, type }) => (type === 'STRING' ? `'|' || "${name}" as "${name}"` : `"${name}"`));
  return z.array(row).parse((await connection.runAndReadAll(`select ${values.join(', ')} from ${table}`)).getRowObjectsJson());
}
