import path from 'node:path';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';
import { LakeBusyError, messageOf } from '../functions/core/errors.ts';

const holderSchema = z.object({ pid: z.number(), command: z.string(), since: z.string() });

/** One process works on a lake at a time. SQLite's file lock ends with the process, however it ends. */
export class ProcessLock {
  readonly #folder: string;
  readonly #database: DatabaseSync;

  private constructor(folder: string, database: DatabaseSync) {
    this.#folder = folder;
    this.#database = database;
  }

  /** @throws LakeBusyError naming the process that holds the lake */
  static acquire(folder: string, command: string): ProcessLock {
    const database = new DatabaseSync(path.join(folder, '.lock'));
    try {
      database.exec('begin exclusive');
    } catch (error) {
      database.close();
      if (!/locked/.test(messageOf(error))) throw error;
      throw new LakeBusyError(
        `${folder} is held by ${holderOf(folder)}. Files in landing wait until it takes them; try again when it has ended`,
      );
    }
    writeFileSync(holderFile(folder), JSON.stringify({ pid: process.pid, command, since: new Date().toISOString() }));
    return new ProcessLock(folder, database);
  }

  release(): void {
    rmSync(holderFile(this.#folder), { force: true });
    this.#database.exec('rollback');
    this.#database.close();
  }
}

function holderFile(folder: string): string {
  return path.join(folder, '.holder.json');
}

function holderOf(folder: string): string {
  try {
    const { pid, command, since } = holderSchema.parse(JSON.parse(readFileSync(holderFile(folder), 'utf8')));
    return `process ${pid} (${command}, since ${since})`;
  } catch {
    return 'another process, which has just begun';
  }
}
