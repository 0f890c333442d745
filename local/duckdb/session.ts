import { setTimeout } from 'node:timers/promises';
import { DuckDBInstance } from '@duckdb/node-api';
import type { DuckDBConnection, Json } from '@duckdb/node-api';
import { LakeBusyError, LakeUnusableError, messageOf } from '../../functions/core/errors.ts';

export type Row = Record<string, Json>;

/** An open lake file: one connection that holds a run's transaction, and one whose errors leave that transaction alone. */
export interface Session {
  /** The run's transaction. A failing statement aborts it. */
  run: DuckDBConnection;
  /** Everything that may fail or must see the published state: reading files, counting what is visible. */
  aside: DuckDBConnection;
  close(): void;
}

export interface OpenOptions {
  readOnly?: boolean;
  /** How long to wait while another process has the file open. */
  patienceMs?: number;
}

const PATIENCE_MS = 15_000;

/**
 * Opens the lake file. Another process that holds it is waited for.
 * @throws LakeBusyError naming the process that holds it; LakeUnusableError when it can't be opened
 */
export async function openSession(file: string, scratchFolder: string, { readOnly = false, patienceMs = PATIENCE_MS }: OpenOptions = {}): Promise<Session> {
  const instance = await openInstance(file, scratchFolder, readOnly, Date.now() + patienceMs);
  const run = await instance.connect();
  const aside = await instance.connect();
  return {
    run,
    aside,
    close() {
      run.closeSync();
      aside.closeSync();
      instance.closeSync();
    },
  };
}

async function openInstance(file: string, scratchFolder: string, readOnly: boolean, until: number): Promise<DuckDBInstance> {
  for (;;) {
    try {
      return await DuckDBInstance.create(file, {
        access_mode: readOnly ? 'READ_ONLY' : 'READ_WRITE',
        temp_directory: scratchFolder,
        memory_limit: '1200MB',
        preserve_insertion_order: 'false',
      });
    } catch (error) {
      const text = messageOf(error);
      const holder = /PID (\d+)/.exec(text)?.[1];
      if (!/lock/i.test(text)) throw new LakeUnusableError(`${file} can't be opened: ${firstLine(text)}`);
      if (Date.now() > until) throw new LakeBusyError(`${file} is open in process ${holder ?? 'unknown'}; wait until it ends, or stop it, and try again`);
      await setTimeout(50);
    }
  }
}

/** Rows as plain objects; BIGINT comes as text, since it may not fit a number. */
export async function rowsOf(connection: DuckDBConnection, sql: string): Promise<Row[]> {
  return (await connection.runAndReadAll(sql)).getRowObjectsJson();
}

/** The numbers of a query's first row, by column. */
export async function numbersOf(connection: DuckDBConnection, sql: string): Promise<Record<string, number>> {
  const [row = {}] = await rowsOf(connection, sql);
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, Number(value ?? 0)]));
}

export async function countOf(connection: DuckDBConnection, table: string): Promise<number> {
  return (await numbersOf(connection, `select count(*) as rows from ${table}`))['rows'] ?? 0;
}

/** A text literal. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** A list of file names for a reader; DuckDB takes names as glob patterns even inside a list. */
export function fileList(paths: readonly string[]): string {
  return `[${paths.map((path) => literal(path.replace(/[[*?]/g, '[$&]'))).join(', ')}]`;
}

export function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? text;
}
