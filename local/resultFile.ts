import { accessSync, chmodSync, constants, existsSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { messageOf, UsageError } from '../functions/core/errors.ts';
import { literal } from './duckdb/session.ts';
import { clearKilled } from './killedProcesses.ts';
import { isBelow } from './isBelow.ts';

const FORMATS: ReadonlyMap<string, string> = new Map([
  ['.parquet', 'format parquet, compression zstd'],
  ['.csv', 'format csv, header'],
]);

/** A file for a query's rows. They are written beside it first, so that it is either complete or as it was before. */
export interface ResultFile {
  /** As its user wrote it. */
  named: string;
  file: string;
  /** Unique to each process: two may write to one file, and the last one wins. */
  unfinished: string;
  format: string;
}

/**
 * Where the rows go; for a link, its target. Removes what a killed process has left of this file.
 * @throws UsageError for an ending other than `.parquet` or `.csv`, a folder that is missing or can't be written, and a place within the lake
 */
export function resultFile(named: string, lake: string): ResultFile {
  const refuse = (why: string): UsageError => new UsageError(`--out ${named}: ${why}`);
  const format = FORMATS.get(path.extname(named).toLowerCase());
  if (format === undefined) throw refuse(`expected a name that ends in ${[...FORMATS.keys()].join(' or ')}`);
  const there = real(named);
  if (there !== undefined && !statSync(there).isFile()) throw refuse('this is not a file; choose another name');
  const folder = real(path.dirname(there ?? named));
  if (folder === undefined) throw refuse(`${path.dirname(named)} is not a folder; create it, or choose another`);
  if (isBelow(real(lake) ?? lake, folder))
    throw refuse(`this is within the lake ${lake}, which holds what runs put there; choose another folder`);
  try {
    accessSync(folder, constants.W_OK);
  } catch {
    throw refuse(`nothing can be written in ${folder}; fix its permissions, or choose another folder`);
  }
  const name = path.basename(there ?? named);
  const unfinishedName = (pid: number) => `.${name.slice(0, 100)}.${pid}.part`;
  clearKilled(folder, unfinishedName);
  return { named, file: path.join(folder, name), unfinished: path.join(folder, unfinishedName(process.pid)), format };
}

function real(file: string): string | undefined {
  try {
    return realpathSync(file);
  } catch {
    return undefined;
  }
}

/**
 * Writes the rows of one SELECT, however many, and replaces a file of that name.
 * @returns how many rows
 * @throws UsageError for a statement that DuckDB knows but that is no SELECT
 */
export async function writeResult(
  connection: DuckDBConnection,
  sql: string,
  { file, unfinished, format }: ResultFile,
): Promise<number> {
  try {
    // As a view, since the statement may end in a semicolon or a comment.
    await connection.run(`create temp view answer as ${sql}`).catch((error: unknown) => {
      if (messageOf(error).startsWith('Parser Error'))
        throw new UsageError('--out writes only the rows of a SELECT; leave it out to see this answer');
      throw error;
    });
    const { rowsChanged } = await connection.run(`copy (from answer) to ${literal(unfinished)} (${format}, use_tmp_file false)`);
    // Keeps the new file from anyone the old one was kept from.
    if (existsSync(file)) chmodSync(unfinished, statSync(file).mode);
    renameSync(unfinished, file);
    return rowsChanged;
  } finally {
    rmSync(unfinished, { force: true });
  }
}
