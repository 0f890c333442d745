import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout } from 'node:timers/promises';
import { z } from 'zod';
import { LakeBusyError, LakeUnusableError, messageOf } from '../functions/core/errors.ts';

/** A process that has just taken the lock, or is about to release it, has no name there for a moment. */
const NAMELESS_MS = 1_000;
const PAUSE_MS = 20;
/** Advice to a person; `watch` follows it itself. */
export const TRY_AGAIN = 'try again when it has ended';
/** `isHeld` locks the file for an instant: no reason to refuse. */
const INSTANT_MS = 100;

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
  static async acquire(folder: string, command: string): Promise<ProcessLock> {
    for (let waited = 0; ; waited += PAUSE_MS) {
      const database = lockedDatabase(folder);
      if (database !== null) {
        writeFileSync(holderFile(folder), JSON.stringify({ pid: process.pid, command, since: new Date().toISOString() }));
        return new ProcessLock(folder, database);
      }
      const holder = holderOf(folder);
      if (holder !== null || waited >= NAMELESS_MS) {
        throw new LakeBusyError(`${folder} is in use by ${holder ?? 'another process'}; ${TRY_AGAIN}`);
      }
      await setTimeout(PAUSE_MS);
    }
  }

  /** Whether a process works on the lake at this moment. */
  static isHeld(folder: string): boolean {
    const database = lockedDatabase(folder);
    database?.close();
    return database === null;
  }

  release(): void {
    rmSync(holderFile(this.#folder), { force: true });
    this.#database.exec('rollback');
    this.#database.close();
  }
}

/** Null when another process has the lock. */
function lockedDatabase(folder: string): DatabaseSync | null {
  const file = path.join(folder, '.lock');
  const database = new DatabaseSync(file, { timeout: INSTANT_MS });
  try {
    database.exec('begin exclusive');
    return database;
  } catch (error) {
    database.close();
    if (/locked/.test(messageOf(error))) return null;
    if (/file is not a database|malformed/.test(messageOf(error)))
      throw new LakeUnusableError(
        `${file} is damaged: ${messageOf(error)}. It holds no data: remove it when no stedi is working on the lake`,
      );
    throw error;
  }
}

function holderFile(folder: string): string {
  return path.join(folder, '.holder.json');
}

function holderOf(folder: string): string | null {
  try {
    const { pid, command, since } = holderSchema.parse(JSON.parse(readFileSync(holderFile(folder), 'utf8')));
    return `process ${pid} (${command}, since ${since})`;
  } catch {
    return null;
  }
}
