import type { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';
import { messageOf } from '../functions/core/errors.ts';
import type { Executions, ExecutionStatus } from '../functions/ports.ts';

const executionRow = z
  .object({
    run_id: z.string(),
    status: z.enum(['RUNNING', 'SUCCEEDED', 'FAILED', 'ABORTED']),
    error: z.string().nullable(),
    started_at: z.string(),
    ended_at: z.string().nullable(),
  })
  .transform(({ run_id: runId, started_at: startedAt, ended_at: endedAt, ...same }) => ({ ...same, runId, startedAt, endedAt }));

/** One execution, as its home remembers it. */
export interface Execution {
  runId: string;
  status: ExecutionStatus;
  error: string | null;
  startedAt: string;
  endedAt: string | null;
}

/** How a closed execution ended. */
export interface Ended extends Pick<Execution, 'runId' | 'error'> {
  status: 'SUCCEEDED' | 'FAILED';
}

/** What an execution does. */
export interface Executing {
  /** Runs the state machine. */
  execute: (runId: string) => Promise<void>;
  /** Called when an execution has ended, as EventBridge would tell reconcile. */
  onEnd: (ended: Ended) => Promise<void>;
}

/**
 * Executions in this process, and the history of all. A started execution waits for `drain`. The process that starts one holds the
 * lake's process lock, so an execution that is RUNNING in the history but not here was killed.
 */
export class LocalExecutions implements Executions {
  readonly #database: DatabaseSync;
  readonly #now: () => Date;
  readonly #execute: Executing['execute'];
  readonly #onEnd: Executing['onEnd'];
  readonly #own = new Set<string>();
  readonly #started: string[] = [];
  #draining: Promise<void> | null = null;

  constructor(database: DatabaseSync, now: () => Date, { execute, onEnd }: Executing) {
    this.#database = database;
    this.#now = now;
    this.#execute = execute;
    this.#onEnd = onEnd;
    database.exec(`create table if not exists executions (
      run_id text primary key, status text not null, error text, started_at text not null, ended_at text) strict`);
  }

  async start(runId: string): Promise<void> {
    const added = this.#database
      .prepare("insert or ignore into executions (run_id, status, started_at) values (?, 'RUNNING', ?)")
      .run(runId, this.#now().toISOString());
    if (added.changes === 0) return;
    this.#own.add(runId);
    this.#started.push(runId);
  }

  /** Whether a started execution is still to be executed. */
  get waiting(): boolean {
    return this.#started.length > 0;
  }

  /** Executes what was started, and what that starts, one after the other; rejects with errors from outside an execution. */
  drain(): Promise<void> {
    this.#draining ??= this.#drain().finally(() => {
      this.#draining = null;
    });
    return this.#draining;
  }

  async #drain(): Promise<void> {
    for (let runId = this.#started.shift(); runId !== undefined; runId = this.#started.shift()) await this.#run(runId);
  }

  async status(runId: string): Promise<ExecutionStatus | 'NOT_STARTED'> {
    this.closeIfKilled(runId);
    const row = this.#database.prepare('select * from executions where run_id = ?').get(runId);
    return row === undefined ? 'NOT_STARTED' : executionRow.parse(row).status;
  }

  /** Closes an execution whose process was killed: nobody knows when. */
  closeIfKilled(runId: string): void {
    if (this.#own.has(runId)) return;
    this.#database
      .prepare(
        "update executions set status = 'ABORTED', error = 'the process was killed' where run_id = ? and status = 'RUNNING'",
      )
      .run(runId);
  }

  async stopJobs(): Promise<void> {
    // Jobs run inside the execution's process and end with it.
  }

  /** All executions, newest first, whatever the clock said. */
  history(): Execution[] {
    return this.#database
      .prepare('select * from executions order by rowid desc')
      .all()
      .map((row) => executionRow.parse(row));
  }

  async #run(runId: string): Promise<void> {
    const ended = await this.#execute(runId).then(
      (): Ended => ({ runId, status: 'SUCCEEDED', error: null }),
      (error: unknown): Ended => ({ runId, status: 'FAILED', error: describe(error) }),
    );
    this.#database
      .prepare('update executions set status = ?, error = ?, ended_at = ? where run_id = ?')
      .run(ended.status, ended.error, this.#now().toISOString(), runId);
    await this.#onEnd(ended);
  }
}

/** aws-local-stepfunctions wraps what a state failed with as the cause. */
function describe(error: unknown): string {
  if (error instanceof Error && error.cause instanceof Error) return `${error.cause.name}: ${error.cause.message}`;
  return messageOf(error);
}
