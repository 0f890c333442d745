import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';
import { catalog } from '../functions/catalog.ts';
import { LakeUnusableError, LockLostError, TablesDamagedError } from '../functions/core/errors.ts';
import { manifestSchema, auditsSchema, readRunFile, stepMetricsSchema, writeRunFile } from '../functions/core/runFiles.ts';
import { requestRunForPending } from '../functions/core/requestRun.ts';
import { runIdOf } from '../functions/core/runId.ts';
import type { Policies, Settings } from '../functions/core/settings.ts';
import type { JobStep, PublishedTable } from '../functions/core/steps.ts';
import { plan } from '../functions/plan.ts';
import type { Log } from '../functions/core/events.ts';
import type { Alerts, FileVersion, Ports, PublishedLake } from '../functions/ports.ts';
import { reconcile } from '../functions/reconcile.ts';
import { report } from '../functions/report.ts';
import { validate } from '../functions/validate.ts';
import { countTables, publishedRun } from './duckdb/counts.ts';
import { RunTables } from './duckdb/runTables.ts';
import { openSession, REBUILD_ADVICE } from './duckdb/session.ts';
import type { OpenOptions, Session } from './duckdb/session.ts';
import { objectCreated, scheduledEvent, sqsBatch, statusChanged } from './events.ts';
import { LocalExecutions } from './executions.ts';
import type { Ended } from './executions.ts';
import { lambdaContext } from './lambdaContext.ts';
import { FolderLanding } from './landing.ts';
import { SqliteLedger } from './ledger.ts';
import { FolderRunFiles } from './runFiles.ts';
import { clearDeadScratch, scratchOf } from './scratch.ts';
import { definitionHash } from './sources.ts';
import { localHandlers, stateMachine } from './stateMachine.ts';
import type { Handler } from './stateMachine.ts';

/** Where things are below a lake's folder. */
export function lakePaths(folder: string) {
  return {
    folder,
    landing: path.join(folder, 'landing'),
    tables: path.join(folder, 'lakehouse.duckdb'),
    ledger: path.join(folder, 'ledger.sqlite'),
    runs: path.join(folder, 'runs'),
    scratch: scratchOf(folder),
  };
}

export interface HomeOptions {
  folder: string;
  /** The landing folder; below the lake's own where it is not named. */
  landing?: string;
  settings: Settings;
  log?: Log;
  onAlert?: Alerts['send'];
  /** How long the state Settle waits. */
  settleMs?: number;
  /** How long a landed file must not have changed before it is taken. */
  stableMs?: number;
  /** For a home that waits however long another process has the tables open; without it the home gives up. */
  onBusy?: OpenOptions['onBusy'];
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
  readonly #settleMs: number;
  readonly #onBusy: OpenOptions['onBusy'];
  #session: Session | null = null;
  #runTables: { runId: string; tables: RunTables } | null = null;

  constructor({
    folder,
    landing,
    settings,
    log = () => undefined,
    onAlert = async () => undefined,
    settleMs = 0,
    stableMs = 0,
    onBusy,
    decorate = (ports) => ports,
  }: HomeOptions) {
    const paths = lakePaths(folder);
    this.paths = { ...paths, landing: landing ?? paths.landing };
    for (const each of [this.paths.landing, this.paths.runs]) mkdirSync(each, { recursive: true });
    this.#settings = settings;
    this.#settleMs = settleMs;
    this.#onBusy = onBusy;
    this.#database = new DatabaseSync(this.paths.ledger, { timeout: 10_000 });
    this.#database.exec('pragma journal_mode = wal; pragma synchronous = normal');
    const now = () => new Date();
    this.ledger = new SqliteLedger(this.#database, now);
    this.landing = new FolderLanding(this.paths.landing, stableMs);
    this.runFiles = new FolderRunFiles(this.paths.runs);
    this.executions = new LocalExecutions(this.#database, now);
    this.ports = decorate({
      ledger: this.ledger,
      landing: this.landing,
      // Made anew from the files and the ledger by whoever asks (duckdb/landingViews.ts).
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
    this.executions.execute = (runId) => this.#execute(runId);
    this.executions.onEnd = (end) => this.#onEnd(end);
  }

  /** Tells `catalog` that files are there, as S3 and EventBridge would, in batches of ten. */
  async announce(files: readonly FileVersion[]): Promise<void> {
    const handler = catalog(this.ports);
    for (let at = 0; at < files.length; at += 10) {
      await handler(sqsBatch(files.slice(at, at + 10).map(objectCreated)), lambdaContext('catalog'));
    }
    // No schedule makes up for a run that `catalog` could not ask for: what broke it, breaks the command.
    if (files.length > 0) await requestRunForPending(this.ports);
  }

  /** Announces every landed file version that the ledger does not know. */
  async announceLanding(): Promise<void> {
    for await (const page of this.landing.list()) await this.announce(await this.ledger.unknown(page));
    this.tellMisnamed();
    for (const key of await this.landing.strays()) this.ports.log('key_ignored', { key });
  }

  /** Tells of landed files that no run can read by their names. */
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
    // Whoever asks wants a definition tried again, however often it has failed.
    const memory = await this.ledger.memory();
    if (memory.tried !== null) await this.ledger.remember({ ...memory, tried: null });
    await reconcile(this.ports)(scheduledEvent(), lambdaContext('reconcile'));
  }

  /** An open session on the tables; the run's own while one is going. */
  async session(): Promise<Session> {
    this.#session ??= await openSession(this.paths.tables, this.paths.scratch, { onBusy: this.#onBusy });
    return this.#session;
  }

  /**
   * What is wrong with the tables file, and what to do; null when nothing is. A lake that never published has no tables to lose: what a
   * killed first run left is no damage. Nor is a run that the ledger does not know to be published: of one that holds the lock reconcile
   * hears, and one that the ledger has never heard of is newer than the ledger.
   */
  async tablesTrouble(): Promise<string | null> {
    const { tables } = this.paths;
    const published = await this.ledger.published();
    try {
      const shown = existsSync(tables) ? await publishedRun((await this.session()).aside) : null;
      if (published === null || shown?.runId === published.runId) return null;
      if (shown === null) return tablesGone(tables, published.runId);
      const isKnown = this.executions.history().some(({ runId }) => runId === shown.runId);
      const isLeft = (await this.ledger.lock())?.runId === shown.runId;
      return isKnown && !isLeft ? tablesOlder(tables, shown.runId, published.runId) : null;
    } catch (error) {
      if (!(error instanceof TablesDamagedError)) throw error;
      return error.message;
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

  /** The policies that a run was planned with; those of the settings where its manifest is lost. */
  async policiesOf(runId: string): Promise<Policies> {
    return (await readRunFile(this.runFiles, runId, 'manifest.json', manifestSchema))?.policies ?? this.#settings;
  }

  close(): void {
    this.#closeSession();
    if (this.#database.isOpen) this.#database.close();
  }

  async #execute(runId: string): Promise<void> {
    // Loaded here, for it takes a while and most commands run nothing.
    const { StateMachine } = await import('aws-local-stepfunctions');
    const definition = stateMachine(this.#settings);
    const handlers = localHandlers(definition, {
      lambda: {
        plan: (payload) => plan(this.ports, this.#settings)(payload, lambdaContext('plan')),
        validate: (payload) => validate(this.ports, this.#settings)(payload, lambdaContext('validate')),
        report: (payload) => report(this.ports)(payload, lambdaContext('report')),
      },
      job: (step, args) => this.#job(step, args),
    });
    // The library asks for a type of its own and would check the definition at each run; a test does, once (test/statemachine).
    const machine = new StateMachine(definition as ConstructorParameters<typeof StateMachine>[0], {
      validationOptions: { noValidate: true },
    });
    const { result } = machine.run(
      {},
      {
        overrides: { taskResourceLocalHandlers: this.#timed(runId, handlers), waitTimeOverrides: { Settle: this.#settleMs } },
        context: { Execution: { Name: runId, Input: {}, StartTime: new Date().toISOString() } },
      },
    );
    await result;
  }

  async #onEnd(end: Ended): Promise<void> {
    this.ended.push(end);
    await this.#runTables?.tables.end();
    this.#runTables = null;
    this.#closeSession(); // what was not published is gone with it
    await reconcile(this.ports)(statusChanged(end.runId, end.status), lambdaContext('reconcile'));
    this.#closeSession();
  }

  #timed(runId: string, handlers: Record<string, Handler>): Record<string, Handler> {
    return Object.fromEntries(
      Object.entries(handlers).map(([state, handler]) => [
        state,
        async (input: unknown) => {
          this.ports.log('state_entered', { runId, state });
          const started = performance.now();
          const seconds = () => Math.round(performance.now() - started) / 1000;
          try {
            const result = await handler(input);
            this.ports.log('state_succeeded', { runId, state, seconds: seconds() });
            return result;
          } catch (error) {
            this.ports.log('state_failed', { runId, state, seconds: seconds() });
            throw error;
          }
        },
      ]),
    );
  }

  /** The Glue job of one step, in this process. */
  async #job(step: JobStep, args: unknown): Promise<void> {
    const { '--run_id': runId, '--fence': fence } = jobArguments.parse(args);
    await this.#checkLock(runId, fence);
    const tables = await this.#tablesOf(runId);
    if (step === 'publish') {
      await this.ports.ledger.markPublishing(runId, fence);
      await tables.publish();
      this.ports.log('run_published', { runId });
      return;
    }
    const metrics = await tables.build(step, (staging) =>
      this.ports.log('table_staged', {
        runId,
        landingTable: staging.landingTable,
        files: staging.files.length,
        staged: staging.rows - staging.rowsBefore,
      }),
    );
    await writeRunFile(this.ports.runFiles, runId, `metrics/${step}.json`, stepMetricsSchema, metrics);
    this.ports.log('table_built', { runId, table: step, rows: metrics.rows, before: metrics.rowsBefore });
    if (step === 'machine_learning_curated')
      await writeRunFile(this.ports.runFiles, runId, 'metrics/audits.json', auditsSchema, await tables.audit());
  }

  async #checkLock(runId: string, fence: number): Promise<void> {
    const lock = await this.ports.ledger.lock();
    if (lock?.runId === runId && lock.fence === fence) return;
    throw new LockLostError(
      `${runId} (fence ${fence}) does not hold the run lock: it is ${lock === null ? 'free' : `with ${lock.runId} (fence ${lock.fence})`}; start a new run`,
    );
  }

  async #tablesOf(runId: string): Promise<RunTables> {
    if (this.#runTables?.runId === runId) return this.#runTables.tables;
    const manifest = await readRunFile(this.ports.runFiles, runId, 'manifest.json', manifestSchema);
    if (manifest === null)
      throw new LockLostError(`runs/${runId}/manifest.json is missing: Plan did not finish; start a new run`);
    const folders = {
      landingRoot: this.paths.landing,
      scratchFolder: this.paths.scratch,
      runFolder: this.runFiles.folderOf(runId),
    };
    const tables = await RunTables.begin(await this.session(), manifest, folders);
    this.#runTables = { runId, tables };
    return tables;
  }

  #closeSession(): void {
    if (this.#session === null) return;
    this.#session.close(); // first: to roll back, DuckDB reads what it has put into scratch
    this.#session = null;
    rmSync(this.paths.scratch, { recursive: true, force: true });
    clearDeadScratch(this.paths.folder);
  }

  #publishedLake(): PublishedLake {
    return {
      publishedRun: async () => (existsSync(this.paths.tables) ? publishedRun((await this.session()).aside) : null),
      counts: async (): Promise<Record<PublishedTable, number>> => countTables((await this.session()).aside),
      // An interrupted commit is either done, and then publishedRun says so, or gone with its transaction.
      resumePublish: async () => undefined,
    };
  }
}

/** An older tables file was put back: what was loaded since would be missing for good, withdrawals too, for the ledger calls it loaded. */
function tablesOlder(tables: string, shown: string, published: string): string {
  return `${tables} is older than the ledger: it shows ${shown}, and ${published} was published after it. Put the newer file back; else ${REBUILD_ADVICE}`;
}

/** The tables file of a lake that has published is missing, or another one stands in its place. */
export function tablesGone(tables: string, runId: string): string {
  return `${tables} ${existsSync(tables) ? 'holds no tables' : 'is missing'}, but ${runId} was published; ${REBUILD_ADVICE}`;
}

const jobArguments = z.object({ '--run_id': z.string(), '--fence': z.coerce.number() });
