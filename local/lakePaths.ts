import path from 'node:path';
import { UsageError } from '../functions/core/errors.ts';

/** Where things are below a lake's folder. */
export function lakePaths(folder: string) {
  return {
    folder,
    landing: path.join(folder, 'landing'),
    tables: path.join(folder, 'lakehouse.duckdb'),
    ledger: path.join(folder, 'ledger.sqlite'),
    runs: path.join(folder, 'runs'),
    scratch: path.join(folder, scratchName(process.pid)),
  };
}

/** Each process has a folder of its own for what does not fit into memory: two DuckDB processes would use the same file names in one. */
export function scratchName(pid: number): string {
  return `tmp-${pid}`;
}

/** SQLite opens no file with a longer path: its journal's name must fit behind it. */
const LONGEST_LEDGER_PATH = 504;

/** @throws UsageError for a folder whose name rules it out as a lake */
export function requireLakeName(folder: string): void {
  if (folder === '') throw new UsageError('--lake is empty: expected a folder');
  const full = path.resolve(folder);
  // DuckDB takes what follows as options, and makes its log elsewhere.
  if (full.includes('?'))
    throw new UsageError(`${full} can't be a lake, because its path contains a "?"; choose another folder with --lake`);
  const tooLong = Buffer.byteLength(lakePaths(full).ledger) - LONGEST_LEDGER_PATH;
  if (tooLong > 0)
    throw new UsageError(
      `${full} can't be a lake, because its path is ${tooLong} bytes too long; choose another folder with --lake`,
    );
}
