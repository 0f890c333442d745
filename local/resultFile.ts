import { realpathSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { UsageError } from '../functions/core/errors.ts';
import { literal } from './duckdb/session.ts';

const FORMATS: ReadonlyMap<string, string> = new Map([
  ['.parquet', 'format parquet, compression zstd'],
  ['.csv', 'format csv, header'],
]);

/** A file for the rows of a query. They are written beside it first, so that it is there as a whole or as it was before. */
export interface ResultFile {
  file: string;
  unfinished: string;
  format: string;
}

/** @throws UsageError for another ending than `.parquet` and `.csv`, a folder that is not there, and a place within the lake */
export function resultFile(file: string, lake: string): ResultFile {
  const format = FORMATS.get(path.extname(file).toLowerCase());
  if (format === undefined)
    throw new UsageError(`--out ${file}: expected a name that ends in ${[...FORMATS.keys()].join(' or ')}`);
  const folder = realFolder(path.dirname(file));
  if (folder === undefined) throw new UsageError(`--out ${file}: ${path.dirname(file)} is no folder; make it, or name another`);
  const toLake = path.relative(realFolder(lake) ?? lake, folder);
  if (toLake === '' || !(toLake.split(path.sep)[0] === '..' || path.isAbsolute(toLake)))
    throw new UsageError(`--out ${file} is within the lake ${lake}, which holds what runs put there; name another folder`);
  return { file, unfinished: path.join(folder, `${path.basename(file)}.part`), format };
}

function realFolder(folder: string): string | undefined {
  try {
    return realpathSync(folder);
  } catch {
    return undefined;
  }
}

/** Writes the rows of one SELECT, of any number, and replaces a file of that name. @returns how many rows */
export async function writeResult(run: DuckDBConnection, sql: string, { file, unfinished, format }: ResultFile): Promise<number> {
  try {
    // As a view, since the statement may end in a semicolon or a comment.
    await run.run(`create temp view answer as ${sql}`);
    const { rowsChanged } = await run.run(`copy (from answer) to ${literal(unfinished)} (${format}, use_tmp_file false)`);
    renameSync(unfinished, file);
    return rowsChanged;
  } finally {
    rmSync(unfinished, { force: true });
  }
}
