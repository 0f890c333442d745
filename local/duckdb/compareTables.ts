import type { DuckDBConnection } from '@duckdb/node-api';
import { z } from 'zod';
import { contractOf } from '../../functions/core/contracts.ts';
import { MODEL_TABLES, STAGING_TABLES } from '../../functions/core/steps.ts';
import { countOf, literal, openSession, rowsOf } from './session.ts';

interface Comparison {
  table: string;
  rows: number;
  rebuilt: number;
  /** Rows that only the lake has, and rows that only the rebuilt tables have. */
  gone: number;
  new: number;
}

/** A lake's tables against those that were rebuilt. */
export interface Compared {
  comparisons: Comparison[];
  /** People who have withdrawn in the lake but not in the rebuilt tables. */
  returning: number;
}

/**
 * Compares two files of tables.
 * @param current null if there are no tables to compare with: every row is new then
 */
export async function compareTables(current: string | null, rebuilt: string): Promise<Compared> {
  const session = await openSession(rebuilt, `${rebuilt}.tmp`);
  try {
    if (current !== null) await session.connection.run(`attach ${literal(current)} as lake (read_only)`);
    const comparisons: Comparison[] = [];
    for (const name of [...STAGING_TABLES, ...MODEL_TABLES]) {
      const names = contractOf(name).columns.map((column) => column.name);
      const here = `select ${names.map((column) => `"${column}"`).join(', ')} from main.${name}`;
      const there = current === null ? `${here} where false` : await selectOf(session.connection, name, names);
      comparisons.push({
        table: name,
        rows: await countOf(session.connection, `(${there})`),
        rebuilt: await countOf(session.connection, `(${here})`),
        gone: await countOf(session.connection, `(${there} except all ${here})`),
        new: await countOf(session.connection, `(${here} except all ${there})`),
      });
    }
    const withdrawals = (of: string) =>
      `select email, lastupdatedate from ${of}.customer_staging where sharewithresearchasofdate is null`;
    const withdrawn = `select email from (${withdrawals('lake.main')} except ${withdrawals('main')}) except select email from lake.main.customer_trusted`;
    const returning =
      current === null
        ? 0
        : await countOf(session.connection, `(select email from main.customer_trusted intersect (${withdrawn}))`);
    return { comparisons, returning };
  } finally {
    session.close();
  }
}

/** Selects a lake table's rows; a column that its contract has gained since is null in all of them. */
async function selectOf(connection: DuckDBConnection, table: string, columns: readonly string[]): Promise<string> {
  const inLake = `from duckdb_columns() where database_name = 'lake' and table_name = ${literal(table)}`;
  const found = await rowsOf(connection, `select column_name as name ${inLake}`, z.object({ name: z.string() }));
  const has = new Set(found.map(({ name }) => name));
  return `select ${columns.map((name) => (has.has(name) ? `"${name}"` : `null as "${name}"`)).join(', ')} from lake.main.${table}`;
}
