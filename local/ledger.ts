import { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';
import { claimLost, lockLost } from '../functions/core/errors.ts';
import { CLAIMED_FIRST } from '../functions/core/fileVersions.ts';
import { byLandingTable, LANDING_TABLES } from '../functions/core/steps.ts';
import type { LandingTable } from '../functions/core/steps.ts';
import { FILE_FORMATS, FILE_STATES, ledgerFileOf } from '../functions/core/storedFile.ts';
import type { FileVerdict, FileVersion, Ledger, LedgerFile, Lock, Memory, NewFile, PublishedRun } from '../functions/ports.ts';

const SCHEMA = `
create table if not exists files (
  landing_table text not null, key text not null, version text not null, size integer not null,
  state text not null check (state in ('pending', 'claimed', 'loaded', 'held')),
  run_id text, attempts integer not null default 0, why text, format text not null, unknown_fields text not null,
  landed integer, staged integer, duplicate integer, rejected integer, arrived_at text not null, retried_at text,
  primary key (key, version)
) strict;
create index if not exists files_by_state on files (state, landing_table, key, version);
create table if not exists run_lock (
  id integer primary key check (id = 1), run_id text, fence integer not null, publishing integer not null
) strict;
insert or ignore into run_lock values (1, null, 0, 0);
create table if not exists published (id integer primary key check (id = 1), run_id text not null, definition text not null) strict;
create table if not exists memory (
  id integer primary key check (id = 1), tried text, tried_runs integer, listed_to text, checking text, checked text
) strict;
`;

/** Table and column of what ledgers made by earlier versions lack. */
const ADDED = [
  ['files', 'retried_at'],
  ['memory', 'checking'],
  ['memory', 'checked'],
] as const;

/** In the order in which they are claimed; queried after every few files registered. */
const WAITING_INDEX =
  'create index if not exists files_by_waiting on files (state, coalesce(retried_at, arrived_at), landing_table, key, version)';

const fileRow = z
  .object({
    landing_table: z.enum(LANDING_TABLES),
    key: z.string(),
    version: z.string(),
    size: z.number(),
    state: z.enum(FILE_STATES),
    run_id: z.string().nullable(),
    attempts: z.number(),
    why: z.string().nullable(),
    format: z.enum(FILE_FORMATS),
    unknown_fields: z.string().transform((text) => z.array(z.string()).parse(JSON.parse(text))),
    landed: z.number().nullable(),
    staged: z.number().nullable(),
    duplicate: z.number().nullable(),
    rejected: z.number().nullable(),
    arrived_at: z.string(),
    retried_at: z.string().nullable(),
  })
  .transform(ledgerFileOf);

const lockRow = z.object({ run_id: z.string().nullable(), fence: z.number(), publishing: z.number() });
const memoryRow = z.object({
  tried: z.string().nullable(),
  tried_runs: z.number().nullable(),
  listed_to: z.string().nullable(),
  checking: z.string().nullable(),
  checked: z.string().nullable(),
});
const publishedRow = z.object({ run_id: z.string(), definition: z.string() });

/** The ledger in one SQLite file. Several processes may have it open; each change of state is one transaction. */
export class SqliteLedger implements Ledger {
  readonly #db: DatabaseSync;
  readonly #now: () => Date;

  constructor(db: DatabaseSync, now: () => Date) {
    this.#db = db;
    this.#now = now;
    db.exec(SCHEMA);
    this.#extend();
    db.exec(WAITING_INDEX);
  }

  async register(files: readonly NewFile[]): Promise<number> {
    const insert = this.#db.prepare(`
      insert or ignore into files (landing_table, key, version, size, state, format, unknown_fields, arrived_at)
      values (?, ?, ?, ?, 'pending', ?, ?, ?)`);
    const arrivedAt = this.#now().toISOString();
    return this.#transaction(() =>
      files.reduce(
        (added, { table, key, version, size, format, unknownFields }) =>
          added + Number(insert.run(table, key, version, size, format, JSON.stringify(unknownFields), arrivedAt).changes),
        0,
      ),
    );
  }

  async unknown(files: readonly FileVersion[]): Promise<FileVersion[]> {
    const known = this.#db.prepare('select 1 from files where key = ? and version = ?');
    return files.filter(({ key, version }) => known.get(key, version) === undefined);
  }

  async pending(limit: number): Promise<LedgerFile[]> {
    return this.#files(
      `where state = 'pending'
       order by landing_table <> '${CLAIMED_FIRST}', coalesce(retried_at, arrived_at), landing_table, key, version limit ?`,
      limit,
    );
  }

  async *files(): AsyncIterable<LedgerFile> {
    for (const row of this.#db.prepare('select * from files order by landing_table, key, version').iterate())
      yield fileRow.parse(row);
  }

  async held(): Promise<LedgerFile[]> {
    return this.#files("where state = 'held' order by landing_table, key, version");
  }

  async lock(): Promise<Lock | null> {
    const row = lockRow.parse(this.#db.prepare('select run_id, fence, publishing from run_lock').get());
    return row.run_id === null ? null : { runId: row.run_id, fence: row.fence, publishing: row.publishing === 1 };
  }

  async takeLock(runId: string): Promise<Lock | null> {
    this.#db.prepare('update run_lock set run_id = ?, fence = fence + 1, publishing = 0 where run_id is null').run(runId);
    const lock = await this.lock();
    return lock?.runId === runId ? lock : null;
  }

  async freeLock(runId: string, fence: number): Promise<void> {
    this.#db.prepare('update run_lock set run_id = null, publishing = 0 where run_id = ? and fence = ?').run(runId, fence);
  }

  async markPublishing(runId: string, fence: number): Promise<void> {
    const marked = this.#db.prepare('update run_lock set publishing = 1 where run_id = ? and fence = ?').run(runId, fence);
    if (marked.changes !== 1) throw lockLost(runId);
  }

  async claim(runId: string, fence: number, files: readonly FileVersion[]): Promise<void> {
    const claim = this.#db.prepare(
      "update files set state = 'claimed', run_id = ? where key = ? and version = ? and state = 'pending'",
    );
    this.#transaction(() => {
      this.#requireLock(runId, fence);
      for (const { key, version } of files) {
        if (claim.run(runId, key, version).changes !== 1) throw claimLost(key);
      }
    });
  }

  async claimed(runId: string): Promise<LedgerFile[]> {
    return this.#files("where state = 'claimed' and run_id = ? order by landing_table, key, version", runId);
  }

  async settle(runId: string, verdicts: readonly FileVerdict[]): Promise<void> {
    const settle = this.#db.prepare(`
      update files set state = ?, attempts = ?, why = ?, landed = ?, staged = ?, duplicate = ?, rejected = ?,
        unknown_fields = coalesce(?, unknown_fields)
      where key = ? and version = ? and state = 'claimed' and run_id = ?`);
    this.#transaction(() => {
      for (const { key, version, state, attempts, why, counts, unknownFields } of verdicts) {
        const { landed = null, staged = null, duplicate = null, rejected = null } = counts ?? {};
        const fields = unknownFields === null ? null : JSON.stringify(unknownFields);
        settle.run(state, attempts, why, landed, staged, duplicate, rejected, fields, key, version, runId);
      }
    });
  }

  async hold(runId: string, fence: number, unready: readonly { file: FileVersion; why: string }[]): Promise<void> {
    const hold = this.#db.prepare(
      "update files set state = 'held', run_id = ?, why = ? where key = ? and version = ? and state = 'pending'",
    );
    this.#transaction(() => {
      this.#requireLock(runId, fence);
      for (const { file, why } of unready) hold.run(runId, why, file.key, file.version);
    });
  }

  async retry(which: { keys: readonly string[] } | { runId: string }): Promise<FileVersion[]> {
    return this.#transaction(() => {
      const held =
        'runId' in which
          ? this.#files("where state = 'held' and run_id = ?", which.runId)
          : which.keys.flatMap((key) => this.#files("where state = 'held' and key = ?", key));
      const release = this.#db.prepare(
        "update files set state = 'pending', attempts = 0, why = null, retried_at = ? where key = ? and version = ?",
      );
      const now = this.#now().toISOString();
      for (const { key, version } of held) release.run(now, key, version);
      return held;
    });
  }

  /** Forgets pending file versions that are no longer there: nothing can read them. */
  forget(files: readonly FileVersion[]): void {
    const forget = this.#db.prepare("delete from files where key = ? and version = ? and state = 'pending'");
    this.#transaction(() => files.forEach(({ key, version }) => forget.run(key, version)));
  }

  async published(): Promise<PublishedRun | null> {
    const row = this.#db.prepare('select run_id, definition from published').get();
    if (row === undefined) return null;
    const { run_id: runId, definition } = publishedRow.parse(row);
    return { runId, definition };
  }

  async setPublished({ runId, definition }: PublishedRun): Promise<void> {
    this.#db.prepare('insert or replace into published values (1, ?, ?)').run(runId, definition);
  }

  async memory(): Promise<Memory> {
    const row = this.#db.prepare('select tried, tried_runs, listed_to, checking, checked from memory').get();
    if (row === undefined) return { tried: null, listedTo: null, checking: null, checked: null };
    const { tried, tried_runs: runs, listed_to: listedTo, checking, checked } = memoryRow.parse(row);
    return { tried: tried === null || runs === null ? null : { definition: tried, runs }, listedTo, checking, checked };
  }

  async remember({ tried, listedTo, checking, checked }: Memory): Promise<void> {
    const { definition = null, runs = null } = tried ?? {};
    const remember = this.#db.prepare('insert or replace into memory values (1, ?, ?, ?, ?, ?)');
    remember.run(definition, runs, listedTo, checking, checked);
  }

  /** Adds columns that a ledger lacks, at the end, where SCHEMA has them too. */
  #extend(): void {
    const known = this.#db.prepare('select 1 from pragma_table_info(?) where name = ?');
    const missing = () => ADDED.filter(([table, column]) => known.get(table, column) === undefined);
    if (missing().length === 0) return;
    this.#transaction(() => {
      for (const [table, column] of missing()) this.#db.exec(`alter table ${table} add column ${column} text`);
    });
  }

  #requireLock(runId: string, fence: number): void {
    if (this.#db.prepare('select 1 from run_lock where run_id = ? and fence = ?').get(runId, fence) === undefined)
      throw lockLost(runId);
  }

  #files(where: string, ...values: (string | number)[]): LedgerFile[] {
    return this.#db
      .prepare(`select * from files ${where}`)
      .all(...values)
      .map((row) => fileRow.parse(row));
  }

  #transaction<T>(work: () => T): T {
    this.#db.exec('begin immediate');
    try {
      const result = work();
      this.#db.exec('commit');
      return result;
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('rollback'); // a full disk has already done so
      throw error;
    }
  }
}

export type UnknownFields = Record<LandingTable, string[]>;

/** Fields in landed files that no contract knows, from a ledger that may be read-only. None if it can't be read. */
export function unknownFieldsIn(ledger: string): UnknownFields {
  const found: UnknownFields = byLandingTable(() => []);
  readIn(ledger, (database) => {
    const names = database.prepare(`
      select distinct value as name from files, json_each(files.unknown_fields)
      where landing_table = ? and unknown_fields <> '[]' order by name`);
    for (const table of LANDING_TABLES) found[table] = names.all(table).map(({ name }) => String(name));
  });
  return found;
}

/** File versions that wait for a person, from a ledger that may be read-only. None if it can't be read. */
export function heldIn(ledger: string): Pick<FileVersion, 'key' | 'version'>[] {
  const found: Pick<FileVersion, 'key' | 'version'>[] = [];
  readIn(ledger, (database) => {
    const rows = database.prepare("select key, version from files where state = 'held' order by key, version").all();
    found.push(...rows.map(({ key, version }) => ({ key: String(key), version: String(version) })));
  });
  return found;
}

/** A lake may have been copied without its ledger, or be where nothing can be written: then nothing is read. */
function readIn(ledger: string, read: (database: DatabaseSync) => void): void {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(ledger, { readOnly: true });
    read(database);
  } catch {
    // The caller can do without.
  } finally {
    database?.close();
  }
}
