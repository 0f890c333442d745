import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { catalog } from '../functions/catalog.ts';
import { LakeUnusableError } from '../functions/core/errors.ts';
import { chunked } from '../functions/core/parallel.ts';
import { requestRunForPending } from '../functions/core/requestRun.ts';
import { runIdOf } from '../functions/core/runId.ts';
import type { Policies, Settings } from '../functions/core/settings.ts';
import type { PublishedTable } from '../functions/core/steps.ts';
import type { Log } from '../functions/core/events.ts';
import type { Alerts, FileVersion, Ports, PublishedLake } from '../functions/ports.ts';
import { reconcile } from '../functions/reconcile.ts';
import { countTables, publishedRun } from './duckdb/counts.ts';
import { RunTables } from './duckdb/runTables.ts';
import { openSession } from './duckdb/session.ts';
import type { OpenOptions, Session } from './duckdb/session.ts';
import { REBUILD_ADVICE, troubleWith, unlessDamaged } from './duckdb/trouble.ts';
import { objectCreated, scheduledEvent, sqsBatch, statusChanged } from './awsEvents.ts';
import { LocalExecutions } from './executions.ts';
import type { Ended } from './executions.ts';
import { clearKilled } from './killedProcesses.ts';
import { lambdaContext } from './lambdaContext.ts';
import { lakePaths, scratchName } from './lakePaths.ts';
import { FolderLanding } from './landing.ts';
import { SqliteLedger } from './ledger.ts';
import { Pipeline } from './pipeline.ts';
import { FolderRunFiles, policiesOf } from './runFiles.ts';
import { definitionHash } from './projectFiles.ts';

export interface HomeOptions {
  folder: string;
  /** The landing folder; by default the lake's own. */
  landing?: string;
  settings: Settings;
  log?: Log;
  onAlert?: Alerts['send'];
  /** How long the state Settle waits. */
  settleMs?: number;
  /** How long a landed file must be unchanged before it is taken. */
  stableMs?: number;
  /** For a home that waits as long as another process has the tables open; without it the home gives up. */
  onBusy?: OpenOptions['onBusy'];
  /** Told of each execution that has ended, after it is settled. */
  onEnded?: (ended: Ended) => void;
  /** Lets a test stand between the rules and the world. */
  decorate?: (ports: Ports) => Ports;
}

/** The pipeline on one machine: the handlers and the state machine of AWS over files, SQLite and DuckDB. */
export class LocalHome {
  readonly paths: ReturnType<typeof lakePaths>;
  readonly ports: Ports;
  readonly ledger: SqliteLedger;
  readonly landing: FolderLanding;
  readonly runFiles: FolderRunFiles;
  readonly executions: LocalExecutions;
  /** What ended while this home was open, in order. */
  readonly ended: Ended[] = [];
  readonly #settings: Settings;
  readonly #database: DatabaseSync;
  readonly #pipeline: Pipeline;
  readonly #onBusy: OpenOptions['onBusy'];
  readonly #onEnded: (ended: Ended) => void;
  #session: Session | null = null;

  constructor({
    folder,
    landing,
    settings,
    log = () => undefined,
    onAlert = async () => undefined,
    settleMs = 0,
    stableMs = 0,
    onBusy,
    onEnded = () => undefined,
    decorate = (ports) => ports,
  }: HomeOptions) {
    const paths = lakePaths(folder);
    this.paths = { ...paths, landing: landing ?? paths.landing };
    // Landing of a lake that is there is somebody's loss, not ours to replace by an empty one.
    if (!existsSync(paths.ledger)) mkdirSync(this.paths.landing, { recursive: true });
    mkdirSync(this.paths.runs, { recursive: true });
    this.#settings = settings;
    this.#onBusy = onBusy;
    this.#onEnded = onEnded;
    this.#database = new DatabaseSync(this.paths.ledger, { timeout: 10_000 });
    this.#database.exec('pragma journal_mode = wal; pragma synchronous = normal');
    const now = () => new Date();
    this.ledger = new SqliteLedger(this.#database, now);
    this.landing = new FolderLanding(this.paths.landing, stableMs);
    this.runFiles = new FolderRunFiles(this.paths.runs);
    this.executions = new LocalExecutions(this.#database, now, {
      execute: (runId) => this.#pipeline.execute(runId),
      onEnd: (end) => this.#onEnd(end),
    });
    this.ports = decorate({
      ledger: this.ledger,
      landing: this.landing,
      // Made on demand from the files and the ledger (duckdb/landingViews.ts).
      landingTables: { ensure: async () => undefined },
      runFiles: this.runFiles,
      executions: this.executions,
      lake: this.#publishedLake(),
      alerts: { send: onAlert },
      definition: definitionHash(settings),
      log,
      now,
      newRunId: () => runIdOf(now(), randomBytes(3).toString('hex')),
    });
    this.#pipeline = new Pipeline(this.ports, settings, settleMs, {
      begin: async (manifest) => {
        const { runId } = manifest;
        const { landing: landingRoot, scratch: scratchFolder } = this.paths;
        const runFolder = this.runFiles.folderOf(runId);
        return RunTables.begin({ session: await this.session(), runId, landingRoot, scratchFolder, runFolder }, manifest);
      },
      troubleWith: (error) => troubleWith(paths.tables, error),
    });
  }

  /** Tells `catalog` that files are there, as S3 and EventBridge would, in batches of ten. */
  async announce(files: readonly FileVersion[]): Promise<void> {
    const handler = catalog(this.ports);
    for (const some of chunked(files, 10)) await handler(sqsBatch(some.map(objectCreated)), lambdaContext('catalog'));
    // No schedule makes up for a run that `catalog` could not ask for: what broke it breaks the command.
    if (files.length > 0) await requestRunForPending(this.ports);
  }

  /** Announces every landed file version that the ledger does not know. */
  async announceLanding(): Promise<void> {
    for await (const page of this.landing.list()) await this.announce(await this.ledger.unknown(page));
    this.tellMisnamed();
    for (const key of await this.landing.strays()) this.ports.log('key_ignored', { key });
  }

  /** Reports landed files whose names no run can read. */
  tellMisnamed(): void {
    for (const [key, error] of this.landing.misnamed) this.ports.log('catalog_failed', { key, error });
  }

  /** Landed file versions that the ledger does not know yet: the next run takes them in. */
  async unknownLanded(): Promise<FileVersion[]> {
    const unknown: FileVersion[] = [];
    for await (const page of this.landing.list()) unknown.push(...(await this.ledger.unknown(page)));
    return unknown;
  }

  /** What the schedule does on AWS: settle what was interrupted, register what was missed, start what is due. */
  async reconcile(): Promise<void> {
    // The caller wants a definition tried again, however often it has failed.
    const memory = await this.ledger.memory();
    if (memory.tried !== null) await this.ledger.remember({ ...memory, tried: null });
    await reconcile(this.ports)(scheduledEvent(), lambdaContext('reconcile'));
  }

  /** An open session on the tables; during a run, the run's own. */
  async session(): Promise<Session> {
    this.#session ??= await openSession(this.paths.tables, this.paths.scratch, { onBusy: this.#onBusy });
    return this.#session;
  }

  /**
   * What is wrong with the tables file, and what to do; null when nothing is. A lake that never published has no tables to lose: what a
   * killed first run left is no damage. Nor is a run that the ledger does not show as published: reconcile deals with one that holds the
   * lock, and one that the ledger has never heard of is newer than the ledger.
   */
  async tablesTrouble(): Promise<string | null> {
    const { tables } = this.paths;
    const published = await this.ledger.published();
    const trouble = async (): Promise<string | null> => {
      const shown = existsSync(tables) ? await publishedRun((await this.session()).aside) : null;
      if (published === null || shown?.runId === published.runId) return null;
      if (shown === null) return tablesGone(tables, published.runId);
      const isKnown = this.executions.history().some(({ runId }) => runId === shown.runId);
      const isLeft = (await this.ledger.lock())?.runId === shown.runId;
      return isKnown && !isLeft ? tablesOlder(tables, shown.runId, published.runId) : null;
    };
    try {
      return await unlessDamaged(tables, trouble, ({ message }) => message);
    } finally {
      this.#closeSession();
    }
  }

  /**
   * Called before anything is planned: a run would otherwise build the tables from what is pending alone.
   * @throws LakeUnusableError when the tables of a lake that has published are gone or damaged
   */
  async requireTables(): Promise<void> {
    const trouble = await this.tablesTrouble();
    if (trouble !== null) throw new LakeUnusableError(trouble);
  }

  /** The policies that a run was planned with; if its manifest is lost, those of the settings. */
  async policiesOf(runId: string): Promise<Policies> {
    return (await policiesOf(this.runFiles, runId)) ?? this.#settings;
  }

  close(): void {
    this.#closeSession();
    if (this.#database.isOpen) this.#database.close();
  }

  async #onEnd(end: Ended): Promise<void> {
    this.ended.push(end);
    await this.#pipeline.end();
    this.#closeSession(); // what was not published is gone with it
    await reconcile(this.ports)(statusChanged(end.runId, end.status), lambdaContext('reconcile'));
    this.#closeSession();
    this.#onEnded(end);
  }

  #closeSession(): void {
    if (this.#session === null) return;
    this.#session.close(); // first: to roll back, DuckDB reads what it has put into scratch
    this.#session = null;
    rmSync(this.paths.scratch, { recursive: true, force: true });
    clearKilled(this.paths.folder, scratchName);
  }

  #publishedLake(): PublishedLake {
    return {
      publishedRun: async () => (existsSync(this.paths.tables) ? publishedRun((await this.session()).aside) : null),
      counts: async (): Promise<Record<PublishedTable, number>> => countTables((await this.session()).aside),
      publishesAtOnce: true,
      // An interrupted commit is either done, and then publishedRun says so, or gone with its transaction.
      resumePublish: async () => undefined,
    };
  }
}

/** An older tables file was put back: what was loaded since, withdrawals too, would be lost for good, as the ledger calls it loaded. */
function tablesOlder(tables: string, shown: string, published: string): string {
  return `${tables} is older than the ledger: it shows ${shown}, and ${published} was published after it. Put the newer file back; otherwise ${REBUILD_ADVICE}`;
}

/** The tables file of a lake that has published is missing, or another one is in its place. */
export function tablesGone(tables: string, runId: string): string {
  return `${tables} ${existsSync(tables) ? 'holds no tables' : 'is missing'}, but ${runId} was published; ${REBUILD_ADVICE}`;
}
