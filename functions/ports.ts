import type { Log } from './core/events.ts';
import type { LoadCounts } from './core/runFiles.ts';
import type { FILE_FORMATS, FILE_STATES } from './core/storedFile.ts';
import type { LandingTable, PublishedTable } from './core/steps.ts';

/** What the rules need from the world. Each home implements these small objects; test/contract/ runs one suite over both. */

/** One upload of one key. */
export interface FileVersion {
  table: LandingTable;
  /** Key below the landing zone, `<table>/…`. */
  key: string;
  /** S3 version id; on one machine size and modification time in nanoseconds. */
  version: string;
  size: number;
}

/** A file version as landing lists it. */
export interface ListedFile extends FileVersion {
  /** ISO time since which it has been there; missing if the home can't tell. */
  landedAt?: string | undefined;
}

export type FileState = (typeof FILE_STATES)[number];

/** The ledger's record of one file version. */
export interface LedgerFile extends FileVersion {
  state: FileState;
  /** The run that claimed it last, or that held it because it could not be read. */
  runId: string | null;
  /** Runs in a row that ended before they could judge it. */
  attempts: number;
  /** Why it is held. */
  why: string | null;
  /** What its first bytes look like. */
  format: FileFormat;
  /** Fields that the contract does not know: in its first record, and in all once it has been read. */
  unknownFields: string[];
  /** Null until it is loaded. */
  counts: LoadCounts | null;
  /** ISO time at which it was registered. */
  arrivedAt: string;
  /** ISO time since which it has waited for a run: that of its registration, or of the last retry by a person. */
  waitsSince: string;
}

export type FileFormat = (typeof FILE_FORMATS)[number];
export type NewFile = Pick<LedgerFile, 'table' | 'key' | 'version' | 'size' | 'format' | 'unknownFields'>;

/** What a settled run makes of one of its file versions. */
export interface FileVerdict {
  key: string;
  version: string;
  state: Exclude<FileState, 'claimed'>;
  attempts: number;
  why: string | null;
  counts: LoadCounts | null;
  /** Null if the run did not read it; then what is known stays. */
  unknownFields: string[] | null;
}

/** The run lock: at most one run writes. */
export interface Lock {
  runId: string;
  /** Grows with each run that takes the lock; a job that carries an older one must not write. */
  fence: number;
  /** Publish has begun: the only way is forward. */
  publishing: boolean;
}

/** What the lake's visible version was built from. */
export interface PublishedRun {
  runId: string;
  definition: string;
}

/** What reconcile remembers from one look to the next. */
export interface Memory {
  /** Runs that were started for a changed definition alone. */
  tried: { definition: string; runs: number } | null;
  /** Key after which the listing of landing resumes; null if it starts over. */
  listedTo: string | null;
  /** ISO time at which the unfinished listing began, if it looks up everything; null if it looks up what is new. */
  checking: string | null;
  /** ISO time at which the last listing that looked up everything began; null before the first. */
  checked: string | null;
}

/** One record for each file version, and the run lock. Every change of state is conditional on the state before. */
export interface Ledger {
  /** Adds what is not known yet as pending; returns how many were new. A known file version stays as it is. */
  register(files: readonly NewFile[]): Promise<number>;
  /** Those of the given file versions that the ledger has no record of. */
  unknown(files: readonly FileVersion[]): Promise<FileVersion[]>;
  /** Pending file versions: those of CLAIMED_FIRST, then those that have waited longest, then in the order of table, key, version; at most `limit`. */
  pending(limit: number): Promise<LedgerFile[]>;
  /** Every file version, in the order of table, key, version. */
  files(): AsyncIterable<LedgerFile>;
  /** File versions that wait for a person, in the same order. */
  held(): Promise<LedgerFile[]>;
  lock(): Promise<Lock | null>;
  /** Takes the lock for a run, or confirms that the run holds it. Null when another run does. */
  takeLock(runId: string): Promise<Lock | null>;
  /** Frees the lock if the run still holds it under this fencing number: it may have taken it anew meanwhile. */
  freeLock(runId: string, fence: number): Promise<void>;
  /** Marks that Publish begins. @throws LockLostError */
  markPublishing(runId: string, fence: number): Promise<void>;
  /** Claims pending file versions for the run that holds the lock. @throws LockLostError */
  claim(runId: string, fence: number, files: readonly FileVersion[]): Promise<void>;
  claimed(runId: string): Promise<LedgerFile[]>;
  /** Moves the run's claims on; other runs' claims are left alone. Where jobs may outlive a run, it can then neither claim nor begin to publish. */
  settle(runId: string, verdicts: readonly FileVerdict[]): Promise<void>;
  /** Holds pending file versions that the run with the lock can't read, each with the reason. @throws LockLostError */
  hold(runId: string, fence: number, unready: readonly { file: FileVersion; why: string }[]): Promise<void>;
  /** Held file versions of these keys, or of this run, go back to pending; returns them. */
  retry(which: { keys: readonly string[] } | { runId: string }): Promise<FileVersion[]>;
  /** What the lake shows, as far as the ledger knows; the lake itself has the last word. */
  published(): Promise<PublishedRun | null>;
  setPublished(run: PublishedRun): Promise<void>;
  memory(): Promise<Memory>;
  remember(memory: Memory): Promise<void>;
}

/** Whether a run can read a file version, and where. */
export type Prepared = { ready: true; input: string | null } | { ready: false; why: string; refused?: true };

/** The landing zone. */
export interface Landing {
  /**
   * Makes sure that a run can read exactly this file version. `input` is where a copy was put if the key holds another version by
   * now (AWS: below `runs/<runId>/input/`), null if the key itself is to be read. `refused`: the reason may lie in what this program is
   * allowed to do rather than in the file. Rejects with errors that may have passed by the next run.
   * @param mayChange files may be overwritten before the run has read them: where the home keeps versions, a key's current one is copied too
   */
  prepare(runId: string, file: FileVersion, mayChange?: boolean): Promise<Prepared>;
  /** The first bytes of a key: of this version if the home keeps versions, otherwise of the current one. */
  head(key: string, bytes: number, version?: string): Promise<Uint8Array>;
  /**
   * All file versions that exist, key by key and page by page: where the home keeps versions, overwritten ones too.
   * With `after`, those of the keys that come after this one.
   */
  list(after?: string | null): AsyncIterable<ListedFile[]>;
}

/** The landing tables in the data catalog. */
export interface LandingTables {
  /** Makes sure the table exists and knows these extra columns; existing columns are never rewritten. */
  ensure(table: LandingTable, extraColumns: readonly string[]): Promise<void>;
}

/** `runs/<runId>/`: what a run leaves behind. */
export interface RunFiles {
  write(runId: string, name: string, text: string): Promise<void>;
  /** Null if there is no such file. */
  read(runId: string, name: string): Promise<string | null>;
}

export type ExecutionStatus = 'RUNNING' | 'SUCCEEDED' | 'FAILED' | 'ABORTED';

/** Executions of the state machine. */
export interface Executions {
  /** Starts an execution by name. Starting a name that exists changes nothing. */
  start(runId: string): Promise<void>;
  status(runId: string): Promise<ExecutionStatus | 'NOT_STARTED'>;
  /** Stops what an ended execution may have left running; resolves when none of it is running any more. */
  stopJobs(runId: string): Promise<void>;
}

/** The visible version of the tables. */
export interface PublishedLake {
  /** The run whose machine_learning_curated is visible (a run is published when that table is); null before the first. */
  publishedRun(): Promise<PublishedRun | null>;
  /** Rows of each visible table, read from the tables. */
  counts(): Promise<Record<PublishedTable, number>>;
  /** Whether all tables become visible in one step: then nothing of an unfinished publish is visible. */
  publishesAtOnce: boolean;
  /** Repeats a run's interrupted Publish, if what it would publish is still there. */
  resumePublish(runId: string, fence: number): Promise<void>;
}

/** Where alerts go. `text` is the report; `attributes` let a subscription filter. */
export interface Alerts {
  send(alert: { subject: string; text: string; attributes: Record<string, string> }): Promise<void>;
}

export interface Ports {
  ledger: Ledger;
  landing: Landing;
  landingTables: LandingTables;
  runFiles: RunFiles;
  executions: Executions;
  lake: PublishedLake;
  alerts: Alerts;
  /** The hash of policies, models, counts and contracts: a change is a reason to run. */
  definition: string;
  log: Log;
  now(): Date;
  newRunId(): string;
}
