import { table } from '../../functions/core/textTable.ts';

/** Rows that are shown are held in memory, all at once. */
export const MOST_SHOWN = 100_000;

/** Rows of a query as a table; columns of numbers are right-aligned. */
export function rowsText(names: readonly string[], rows: readonly Record<string, unknown>[]): string {
  if (rows.length === 0) return 'No rows';
  return table(
    names,
    rows.map((row) => names.map((name) => shown(row[name]))),
    names.map((name) => (rows.every((row) => typeof row[name] === 'number' || row[name] === null) ? 'r' : 'l')),
  );
}

function shown(value: unknown): string {
  if (value === null || value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
