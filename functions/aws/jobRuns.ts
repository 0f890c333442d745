import { setTimeout } from 'node:timers/promises';
import {
  BatchStopJobRunCommand,
  ConcurrentRunsExceededException,
  GetJobRunCommand,
  GetJobRunsCommand,
  StartJobRunCommand,
} from '@aws-sdk/client-glue';
import type { GlueClient, JobRun, JobRunState } from '@aws-sdk/client-glue';
import { JOB_STEPS } from '../core/steps.ts';
import type { JobStep } from '../core/steps.ts';
import type { Log } from '../core/events.ts';
import { inParallel } from '../core/parallel.ts';

const ENDED: ReadonlySet<JobRunState | undefined> = new Set(['SUCCEEDED', 'FAILED', 'STOPPED', 'TIMEOUT', 'ERROR', 'EXPIRED']);

/** Job runs come newest first, and a job has at most one active: any that has not ended is among these. */
const LATEST = 50;

interface JobRunsOptions {
  /** How long to wait before looking again. */
  pauseMs?: number;
  /** How long to wait for an end: a Lambda lives for 15 minutes, and must still say what it waits for. */
  patienceMs?: number;
  log?: Log;
}

interface JobRunName {
  job: string;
  id: string;
}

/** The Glue job runs that belong to one run of the pipeline. */
export class JobRuns {
  readonly #client: GlueClient;
  readonly #prefix: string;
  readonly #pauseMs: number;
  readonly #patienceMs: number;
  readonly #log: Log;

  /** `prefix`: what precedes the step's name in a job's name. */
  constructor(
    client: GlueClient,
    prefix: string,
    { pauseMs = 2_000, patienceMs = 13 * 60_000, log = () => undefined }: JobRunsOptions = {},
  ) {
    this.#client = client;
    this.#prefix = prefix;
    this.#pauseMs = pauseMs;
    this.#patienceMs = patienceMs;
    this.#log = log;
  }

  /** Stops every job that works for this run, and logs what each of the run's jobs took; resolves when all have ended. */
  async stop(runId: string): Promise<void> {
    const found = (await inParallel(JOB_STEPS, (step) => this.#find(step, runId))).flat();
    await inParallel(found, async ({ job, id, jobRun }) => {
      const ended = ENDED.has(jobRun.JobRunState) ? jobRun : await this.#stopOne({ job, id });
      this.#logEnded(runId, job, ended);
    });
  }

  /**
   * Runs a step's job for this run to its end, or waits for the one already at work.
   * @throws Error when it does not succeed
   */
  async run(step: JobStep, runId: string, fence: number): Promise<void> {
    const [going] = await this.#working(step, runId);
    const {
      JobRunState,
      ErrorMessage = 'it left no message',
      Id,
    } = await this.#ended(going ?? (await this.#start(step, runId, fence)));
    if (JobRunState !== 'SUCCEEDED')
      throw new Error(`job ${this.#prefix}${step}, job run ${Id}, for ${runId} is ${JobRunState}: ${ErrorMessage}`);
  }

  async #stopOne({ job, id }: JobRunName): Promise<JobRun> {
    // A run that has ended by itself meanwhile is listed among the response's errors; what counts is that it ends.
    await this.#client.send(new BatchStopJobRunCommand({ JobName: job, JobRunIds: [id] }));
    return this.#ended({ job, id });
  }

  async #start(step: JobStep, runId: string, fence: number): Promise<JobRunName> {
    const job = `${this.#prefix}${step}`;
    try {
      const { JobRunId } = await this.#client.send(
        new StartJobRunCommand({ JobName: job, Arguments: { '--run_id': runId, '--fence': String(fence) } }),
      );
      if (JobRunId === undefined) throw new Error(`${job}: Glue gave no job run id`);
      return { job, id: JobRunId };
    } catch (error) {
      if (!(error instanceof ConcurrentRunsExceededException)) throw error;
      const [going] = await this.#working(step, runId); // somebody else was faster
      if (going === undefined) throw error;
      return going;
    }
  }

  async #working(step: JobStep, runId: string): Promise<JobRunName[]> {
    return (await this.#find(step, runId)).filter(({ jobRun }) => !ENDED.has(jobRun.JobRunState));
  }

  async #find(step: JobStep, runId: string): Promise<(JobRunName & { jobRun: JobRun })[]> {
    const job = `${this.#prefix}${step}`;
    const { JobRuns: latest = [] } = await this.#client.send(new GetJobRunsCommand({ JobName: job, MaxResults: LATEST }));
    return latest.flatMap((jobRun) =>
      jobRun.Id !== undefined && jobRun.Arguments?.['--run_id'] === runId ? [{ job, id: jobRun.Id, jobRun }] : [],
    );
  }

  /** A job without auto scaling reports no DPU seconds, but keeps the capacity it was given until it ends. */
  #logEnded(runId: string, job: string, { JobRunState, ExecutionTime = 0, MaxCapacity = 0, DPUSeconds }: JobRun): void {
    const dpuSeconds = DPUSeconds ?? ExecutionTime * MaxCapacity;
    this.#log('job_ended', { runId, job, state: JobRunState, seconds: ExecutionTime, dpuSeconds });
  }

  async #ended({ job, id }: JobRunName): Promise<JobRun> {
    const deadline = Date.now() + this.#patienceMs;
    for (;;) {
      const { JobRun } = await this.#client.send(new GetJobRunCommand({ JobName: job, RunId: id }));
      if (JobRun !== undefined && ENDED.has(JobRun.JobRunState)) return JobRun;
      if (Date.now() >= deadline) throw new Error(`job ${job}, job run ${id}, has not ended yet; reconcile looks again`);
      await setTimeout(this.#pauseMs);
    }
  }
}
