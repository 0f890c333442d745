import { z } from 'zod';
import { LockLostError } from '../functions/core/errors.ts';
import { auditsSchema, manifestSchema, readRunFile, stepMetricsSchema, writeRunFile } from '../functions/core/runFiles.ts';
import type { Manifest } from '../functions/core/runFiles.ts';
import type { Settings } from '../functions/core/settings.ts';
import type { JobStep } from '../functions/core/steps.ts';
import { plan } from '../functions/plan.ts';
import type { Ports } from '../functions/ports.ts';
import { report } from '../functions/report.ts';
import { validate } from '../functions/validate.ts';
import type { RunTables } from './duckdb/runTables.ts';
import { lambdaContext } from './lambdaContext.ts';
import { localHandlers, stateMachine } from './stateMachine.ts';
import type { Handler } from './stateMachine.ts';

const jobArguments = z.object({ '--run_id': z.string(), '--fence': z.coerce.number() });

interface Tables {
  /** Opens the tables for a run, when its first job asks. */
  begin: (manifest: Manifest) => Promise<RunTables>;
  /** What is wrong with the tables file, if an error says so. */
  troubleWith: (error: unknown) => Error | null;
}

/** Executes runs: the state machine, with the handlers of AWS and with jobs that build a run's tables in one transaction. */
export class Pipeline {
  readonly #ports: Ports;
  readonly #settings: Settings;
  readonly #settleMs: number;
  readonly #tables: Tables;
  #run: { runId: string; tables: RunTables } | null = null;

  constructor(ports: Ports, settings: Settings, settleMs: number, tables: Tables) {
    this.#ports = ports;
    this.#settings = settings;
    this.#settleMs = settleMs;
    this.#tables = tables;
  }

  /**
   * One execution, from its first state to its last.
   * @throws what a state failed with, as the cause of the library's own error
   */
  async execute(runId: string): Promise<void> {
    // Loaded here, as it takes a while and most commands run nothing.
    const { StateMachine } = await import('aws-local-stepfunctions');
    const definition = stateMachine(this.#settings);
    const handlers = localHandlers(definition, {
      lambda: {
        plan: (payload) => plan(this.#ports, this.#settings)(payload, lambdaContext('plan')),
        validate: (payload) => validate(this.#ports, this.#settings)(payload, lambdaContext('validate')),
        report: (payload) => report(this.#ports)(payload, lambdaContext('report')),
      },
      job: (step, args) => this.#job(step, args),
    });
    // The library wants a type of its own and would check the definition on each run; a test does, once (test/statemachine).
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

  /** Drops what the last execution built but did not publish. */
  async end(): Promise<void> {
    await this.#run?.tables.end();
    this.#run = null;
  }

  #timed(runId: string, handlers: Record<string, Handler>): Record<string, Handler> {
    return Object.fromEntries(
      Object.entries(handlers).map(([state, handler]) => [
        state,
        async (input: unknown) => {
          this.#ports.log('state_entered', { runId, state });
          const started = performance.now();
          const seconds = () => Math.round(performance.now() - started) / 1000;
          try {
            const result = await handler(input);
            this.#ports.log('state_succeeded', { runId, state, seconds: seconds() });
            return result;
          } catch (error) {
            this.#ports.log('state_failed', { runId, state, seconds: seconds() });
            throw this.#tables.troubleWith(error) ?? error;
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
      await tables.checkUnmoved();
      await this.#ports.ledger.markPublishing(runId, fence);
      await tables.publish();
      this.#ports.log('run_published', { runId });
      return;
    }
    const metrics = await tables.build(step, (staging) =>
      this.#ports.log('table_staged', {
        runId,
        landingTable: staging.landingTable,
        files: staging.files.length,
        staged: staging.rows - staging.rowsBefore,
      }),
    );
    await writeRunFile(this.#ports.runFiles, runId, `metrics/${step}.json`, stepMetricsSchema, metrics);
    this.#ports.log('table_built', { runId, table: step, rows: metrics.rows, before: metrics.rowsBefore });
    if (step === 'machine_learning_curated')
      await writeRunFile(this.#ports.runFiles, runId, 'metrics/audits.json', auditsSchema, await tables.audit());
  }

  async #checkLock(runId: string, fence: number): Promise<void> {
    const lock = await this.#ports.ledger.lock();
    if (lock?.runId === runId && lock.fence === fence) return;
    throw new LockLostError(
      `${runId} (fence ${fence}) does not hold the run lock: it is ${lock === null ? 'free' : `with ${lock.runId} (fence ${lock.fence})`}; start a new run`,
    );
  }

  async #tablesOf(runId: string): Promise<RunTables> {
    if (this.#run?.runId === runId) return this.#run.tables;
    const manifest = await readRunFile(this.#ports.runFiles, runId, 'manifest.json', manifestSchema);
    if (manifest === null)
      throw new LockLostError(`runs/${runId}/manifest.json is missing: Plan did not finish; start a new run`);
    const tables = await this.#tables.begin(manifest);
    this.#run = { runId, tables };
    return tables;
  }
}
