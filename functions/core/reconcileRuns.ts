import type { Executions, Lock, Ports } from '../ports.ts';
import { logBacklog } from './backlog.ts';
import { catalogFile } from './catalogFile.ts';
import { messageOf } from './errors.ts';
import { definitionChanged } from './planRun.ts';
import { reportRun } from './reportRun.ts';
import { manifestSchema, readRunFile } from './runFiles.ts';
import { requestRun } from './requestRun.ts';
import { settleRun } from './settleRun.ts';
import type { Outcome } from './settleRun.ts';

/** Why reconcile runs: an execution ended, or it is time to look. */
export type Occasion = 'execution ended' | 'schedule';

type Status = Awaited<ReturnType<Executions['status']>>;

/** An execution that has ended, as its event tells. */
export interface EndedExecution {
  runId: string;
  status: Extract<Status, 'SUCCEEDED' | 'FAILED' | 'ABORTED'>;
}

export interface Reconciled {
  /** The run whose claims were moved on, and how it came out. */
  settled: { runId: string; outcome: Outcome } | null;
  /** Landed file versions that were not known yet. */
  registered: number;
  /** The run that was started. */
  started: string | null;
}

/**
 * Puts right what events and executions left behind (docs/architecture.md, "Crashes"): settles the run that ended and frees the lock for it,
 * registers landed file versions whose event was lost and says what waits (both on schedule), and starts the follow-up.
 * @param told the execution whose event this is: asked at this moment, Step Functions may still call it RUNNING
 */
export async function reconcileRuns(ports: Ports, occasion: Occasion, told: EndedExecution | null = null): Promise<Reconciled> {
  const lock = await ports.ledger.lock();
  const isTold = told !== null && told.runId === lock?.runId;
  const status = lock === null ? null : isTold ? told.status : await ports.executions.status(lock.runId);
  const ended = lock !== null && status !== 'RUNNING' && status !== 'NOT_STARTED';
  const settled = ended ? { runId: lock.runId, outcome: await settleEnded(ports, lock, status) } : null;

  const registered = occasion === 'schedule' ? await registerMissed(ports) : 0;
  if (occasion === 'schedule') await logBacklog(ports, status === 'RUNNING' ? (lock?.runId ?? null) : null);
  const due = status === 'NOT_STARTED' || (await hasReasonToRun(ports, occasion, settled?.outcome));
  return { settled, registered, started: due ? await requestRun(ports) : null };
}

async function settleEnded(ports: Ports, lock: Lock, status: Status | null): Promise<Outcome> {
  const { runId, fence, publishing } = lock;
  const resumed = publishing && (await ports.lake.publishedRun())?.runId !== runId;
  if (resumed) await ports.lake.resumePublish(runId, fence); // first: a publish that still works comes to its end, and is not stopped
  await ports.executions.stopJobs(runId);
  const outcome = await settleRun(ports, runId);
  await reportEnded(ports, { runId, status, outcome, resumed });
  await ports.ledger.freeLock(runId);
  return outcome;
}

/**
 * A run that was killed could not report, and one whose publish was carried to its end here has reported a failure that is over.
 * One that never planned anything has nothing to report.
 */
async function reportEnded(
  ports: Ports,
  { runId, status, outcome, resumed }: { runId: string; status: Status | null; outcome: Outcome; resumed: boolean },
): Promise<void> {
  const overtaken = resumed && outcome === 'published';
  if (!overtaken && (await ports.runFiles.read(runId, 'report.md')) !== null) return;
  if ((await readRunFile(ports.runFiles, runId, 'manifest.json', manifestSchema)) === null) return;
  await reportRun(
    ports,
    runId,
    outcome === 'published'
      ? null
      : { name: 'Interrupted', cause: `the execution is ${status} and left no report: it was killed or aborted` },
  );
}

/**
 * An interrupted run is not followed at once: what broke it would break the next one too. The next event or schedule tries again.
 */
async function hasReasonToRun(ports: Ports, occasion: Occasion, outcome: Outcome | undefined): Promise<boolean> {
  if (occasion === 'execution ended' && outcome === 'interrupted') return false;
  if ((await ports.ledger.pending(1)).length > 0) return true;
  return occasion === 'schedule' && (await definitionChanged(ports));
}

async function registerMissed(ports: Ports): Promise<number> {
  let registered = 0;
  for await (const page of ports.landing.list()) {
    for (const file of await ports.ledger.unknown(page)) {
      try {
        await catalogFile(ports, file);
        registered += 1;
      } catch (error) {
        ports.log('catalog_failed', { key: file.key, error: messageOf(error) }); // the others go on
      }
    }
  }
  if (registered > 0) ports.log('missed_files_registered', { files: registered });
  return registered;
}
