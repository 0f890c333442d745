import { existsSync, renameSync, rmSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { DuckDBInstance, DuckDBTimestampTZValue } from '@duckdb/node-api';
import type { DuckDBConnection } from '@duckdb/node-api';
import { z } from 'zod';
import { LakeBusyError, LakeUnusableError, messageOf } from '../../functions/core/errors.ts';
import { damageAtOpening, firstLine } from './trouble.ts';

/** An open lake file: one connection that holds a run's transaction, and one whose errors leave that transaction alone. */
export interface Session {
  /** The run's transaction. A failing statement aborts it. */
  connection: DuckDBConnection;
  /** Everything that may fail or must see the published state: reading files, counting what is visible. */
  aside: DuckDBConnection;
  close(): void;
}

export interface OpenOptions {
  readOnly?: boolean;
  /** Called once when waiting for another process that has the file open takes long; unless it throws, the wait goes on. */
  onBusy?: ((busy: LakeBusyError) => void) | undefined;
}

const PATIENCE_MS = 15_000;

/**
 * Opens the lake file, creating it if there is none. Waits for another process that holds it.
 * @throws LakeBusyError naming the process that holds it, unless `onBusy` goes on; LakeUnusableError when it can't be opened or made
 */
export async function openSession(
  file: string,
  scratchFolder: string,
  { readOnly = false, onBusy = giveUp }: OpenOptions = {},
): Promise<Session> {
  if (!readOnly && !existsSync(file)) await makeFile(file);
  const instance = await openInstance(file, scratchFolder, readOnly, onBusy);
  const connection = await instance.connect();
  const aside = await instance.connect();
  // The optimizer does not see uncommitted rows, takes those tables to be empty and joins the wrong way round: ten times the work.
  // Models join from the many to the few, and run as written.
  await connection.run("set disabled_optimizers = 'join_order,build_side_probe_side'");
  // Trying these on every column costs more time than they ever save here; the files are no larger without them.
  await connection.run("set disabled_compression_methods = 'fsst,dict_fsst,zstd'");
  // Days are UTC days wherever the machine is, and queries read times as UTC too.
  await connection.run("set global TimeZone = 'UTC'");
  DuckDBTimestampTZValue.timezoneOffsetInMinutes = 0;
  return {
    connection,
    aside,
    close() {
      connection.closeSync();
      aside.closeSync();
      instance.closeSync();
    },
  };
}

function giveUp(busy: LakeBusyError): void {
  throw busy;
}

/** Under another name first: a process that ends while DuckDB writes the first blocks leaves a file that can't be opened again. */
async function makeFile(file: string): Promise<void> {
  const unfinished = `${file}.new`;
  // A log left from other tables is not the new ones'; DuckDB removes it itself when it makes a file.
  for (const left of [unfinished, `${file}.wal`]) rmSync(left, { force: true });
  try {
    (await DuckDBInstance.create(unfinished)).closeSync();
  } catch (error) {
    throw new LakeUnusableError(`${file} can't be created: ${firstLine(messageOf(error))}`);
  }
  renameSync(unfinished, file);
}

async function openInstance(
  file: string,
  scratchFolder: string,
  readOnly: boolean,
  onBusy: (busy: LakeBusyError) => void,
): Promise<DuckDBInstance> {
  for (let until = Date.now() + PATIENCE_MS; ;) {
    try {
      return await DuckDBInstance.create(file, {
        access_mode: readOnly ? 'READ_ONLY' : 'READ_WRITE',
        temp_directory: scratchFolder,
        // By default DuckDB takes four fifths of the machine. With this a run is as fast; what does not fit goes to scratch.
        memory_limit: '1200MB',
        preserve_insertion_order: 'false',
      });
    } catch (error) {
      const text = messageOf(error);
      const holder = /PID (\d+)/.exec(text)?.[1];
      if (!text.includes('Could not set lock on file'))
        throw damageAtOpening(file, error) ?? new LakeUnusableError(`${file} can't be opened: ${firstLine(text)}`);
      if (Date.now() > until) {
        onBusy(
          new LakeBusyError(`${file} is open in process ${holder ?? 'unknown'}; wait until it ends, or stop it, and try again`),
        );
        until = Infinity;
      }
      await setTimeout(50);
    }
  }
}

/** A query's rows, parsed. BIGINT comes as text, since it may not fit a number: parse it with `whole`. */
export async function rowsOf<T>(connection: DuckDBConnection, sql: string, row: z.ZodType<T>): Promise<T[]> {
  return z.array(row).parse((await connection.runAndReadAll(sql)).getRowObjectsJson());
}

/** A whole number in the safe range. */
export const whole = z.coerce.number().pipe(z.int());

/** The numbers of a query's first row, by column; null is 0. */
export async function numbersOf(connection: DuckDBConnection, sql: string): Promise<Record<string, number>> {
  const [row = {}] = await rowsOf(connection, sql, z.record(z.string(), z.coerce.number()));
  return row;
}

export async function countOf(connection: DuckDBConnection, table: string): Promise<number> {
  return (await numbersOf(connection, `select count(*) as rows from ${table}`))['rows'] ?? 0;
}

/** A text literal. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** A list of file names for a reader. */
export function fileList(paths: readonly string[]): string {
  return `[${paths.map((path) => literal(asPattern(path))).join(', ')}]`;
}

/** The pattern that matches this file alone: DuckDB takes names as glob patterns even inside a list. */
export function asPattern(path: string): string {
  return path.replace(/[[*?]/g, '[$&]');
}
