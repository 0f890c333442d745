import { mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import {
  auditsSchema,
  manifestSchema,
  reportSchema,
  stepMetricsSchema,
  validationSchema,
  writeRunFile,
} from '../../functions/core/runFiles.ts';
import { PUBLISHED_TABLES } from '../../functions/core/steps.ts';
import type { PublishedTable } from '../../functions/core/steps.ts';
import type {
  Alerts,
  Executions,
  ExecutionStatus,
  FileVersion,
  LedgerFile,
  Ports,
  PublishedRun,
  RunFiles,
} from '../../functions/ports.ts';
import { FolderLanding } from '../../local/landing.ts';
import { SqliteLedger } from '../../local/ledger.ts';
import { FolderRunFiles } from '../../local/runFiles.ts';
import { collected } from './collected.ts';
import type { Evidence } from './evidence.ts';
import { temporaryFolders } from './folders.ts';

type Status = ExecutionStatus | 'NOT_STARTED';

/** Executions that are never executed: a test says how each one ends. */
class ToldExecutions implements Executions {
  readonly started: string[] = [];
  readonly stopped: string[] = [];
  readonly #status = new Map<string, Status>();

  async start(runId: string): Promise<void> {
    if (this.#status.has(runId)) return;
    this.started.push(runId);
    this.#status.set(runId, 'RUNNING');
  }

  async status(runId: string): Promise<Status> {
    return this.#status.get(runId) ?? 'NOT_STARTED';
  }

  async stopJobs(runId: string): Promise<void> {
    this.stopped.push(runId);
  }

  end(runId: string, status: 'SUCCEEDED' | 'FAILED' | 'ABORTED'): void {
    this.#status.set(runId, status);
  }
}

/** The rules' world: ledger, landing and run files are real, executions and the published lake do what a test says. */
export class World {
  readonly landing: FolderLanding;
  readonly ledger: SqliteLedger;
  readonly runFiles: FolderRunFiles;
  readonly executions = new ToldExecutions();
  readonly alerts: Parameters<Alerts['send']>[0][] = [];
  readonly logged: string[] = [];
  readonly lake = {
    published: null as PublishedRun | null,
    counts: zeroCounts(),
    /** Whether there is something to publish when a publish is resumed, and the fences it was resumed with. */
    resumes: false,
    resumed: [] as number[],
  };
  readonly ports: Ports;
  readonly #database: DatabaseSync;
  #clock = Date.UTC(2026, 0, 2, 3, 4, 5);
  #runs = 0;

  constructor(folder: string, definition = 'abc') {
    this.#database = new DatabaseSync(path.join(folder, 'ledger.sqlite'));
    this.#database.exec('pragma synchronous = off');
    const now = () => new Date(this.#clock);
    this.landing = new FolderLanding(path.join(folder, 'landing'));
    this.ledger = new SqliteLedger(this.#database, now);
    this.runFiles = new FolderRunFiles(path.join(folder, 'runs'));
    this.ports = {
      ledger: this.ledger,
      landing: this.landing,
      landingTables: { ensure: async () => undefined },
      runFiles: this.runFiles,
      executions: this.executions,
      lake: {
        publishedRun: async () => this.lake.published,
        counts: async () => this.lake.counts,
        publishesAtOnce: false,
        resumePublish: async (runId, fence) => {
          this.lake.resumed.push(fence);
          if (this.lake.resumes) this.publish(runId);
        },
      },
      alerts: { send: async (alert) => void this.alerts.push(alert) },
      definition,
      log: (...[event]) => void this.logged.push(event),
      now,
      newRunId: () => `run-${(this.#runs += 1)}`,
    };
  }

  /** The same world after settings, models or contracts have changed. */
  redefined(definition: string): Ports {
    return { ...this.ports, definition };
  }

  /** Lets the lake show a run. */
  publish(runId: string, definition = 'abc'): void {
    this.lake.published = { runId, definition };
  }

  close(): void {
    this.#database.close();
  }

  /** Lets minutes go by. */
  pass(minutes: number): void {
    this.#clock += minutes * 60_000;
  }

  /** Puts a file into landing, as a new version each time. */
  async land(key: string, content = '{"email":"a@x.org"}\n'): Promise<FileVersion> {
    const file = this.landing.pathOf(key);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, content);
    this.#clock += 1000;
    utimesSync(file, this.#clock / 1000, this.#clock / 1000);
    const version = await this.landing.current(key);
    if (version === null) throw new Error(`${key} belongs to no landing table`);
    return version;
  }

  /** Puts files into landing and registers them. */
  async register(...keys: string[]): Promise<FileVersion[]> {
    const files: FileVersion[] = [];
    for (const key of keys) files.push(await this.land(key));
    await this.ledger.register(files.map((file) => ({ ...file, format: 'json', unknownFields: [] })));
    return files;
  }

  remove(key: string): void {
    rmSync(this.landing.pathOf(key));
  }

  /** The ledger's records by key. */
  async files(): Promise<Record<string, LedgerFile>> {
    return Object.fromEntries((await collected(this.ledger.files())).map((file) => [file.key, file]));
  }

  /** The state of each file by key. */
  async states(): Promise<Record<string, string>> {
    return Object.fromEntries(Object.entries(await this.files()).map(([key, { state }]) => [key, state]));
  }

  async manifest(runId: string) {
    return manifestSchema.parse(JSON.parse((await this.runFiles.read(runId, 'manifest.json')) ?? 'null'));
  }

  async report(runId: string) {
    return reportSchema.parse(JSON.parse((await this.runFiles.read(runId, 'report.json')) ?? 'null'));
  }

  async writeEvidence(runId: string, { manifest, steps, audits }: Evidence): Promise<void> {
    await writeRunFile(this.runFiles, runId, 'manifest.json', manifestSchema, manifest);
    await this.writeMetrics(runId, { steps, audits });
  }

  async writeMetrics(runId: string, { steps, audits }: Pick<Evidence, 'steps' | 'audits'>): Promise<void> {
    for (const metrics of steps)
      await writeRunFile(this.runFiles, runId, `metrics/${metrics.step}.json`, stepMetricsSchema, metrics);
    if (audits !== null) await writeRunFile(this.runFiles, runId, 'metrics/audits.json', auditsSchema, audits);
  }

  /** Makes the gate fail, with these files held. */
  async failGate(runId: string, held: readonly FileVersion[], why = 'too many rejects'): Promise<void> {
    await writeRunFile(this.runFiles, runId, 'validation.json', validationSchema, {
      runId,
      ok: false,
      expectations: [{ name: 'reject_ratio:customer_landing', ok: false, expected: 'at most 5%', found: '50%' }],
      held: held.map(({ key, version }) => ({ file: key, version, why })),
    });
  }
}

/** The run files of a world that has no space for more. */
export function unwritable(world: World): RunFiles {
  return { read: world.runFiles.read.bind(world.runFiles), write: async () => Promise.reject(new Error('no space')) };
}

function zeroCounts(): Record<PublishedTable, number> {
  const counts: Partial<Record<PublishedTable, number>> = Object.fromEntries(PUBLISHED_TABLES.map((table) => [table, 0]));
  return auditsSchema.shape.counts.parse(counts);
}

/** Worlds in temporary folders for the tests of one file. */
export function temporaryWorlds(): () => World {
  const newFolder = temporaryFolders();
  const worlds: World[] = [];
  afterEach(() => {
    for (const world of worlds.splice(0)) world.close();
  });
  return () => {
    const world = new World(newFolder());
    worlds.push(world);
    return world;
  };
}
