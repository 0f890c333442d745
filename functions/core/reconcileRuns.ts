import type { ExecutionStatus, Lock, Ports } from '../ports.ts';
import { logBacklog } from './backlog.ts';
import { ensureColumns } from './catalogFile.ts';
import { messageOf } from './errors.ts';
import { announceHeld } from './heldFiles.ts';
import { definitionChanged } from './planRun.ts';
import { COUNTS_DIFFER, reportRun } from './reportRun.ts';
import { manifestSchema, readRunFile, readStepMetrics, reportSchema } from './runFiles.ts';
import { registerMissed } from './registerMissed.ts';
import { requestRun } from './requestRun.ts';
import { settleRun } from './settleRun.ts';
import type { Outcome } from './settleRun.ts';

/** How many runs a changed definition alone starts. */
const DEFINITION_TRIES = 3;

/** Why reconcile runs: an execution ended, or it is time to look. */
type Occasion = 'execution ended' | 'schedule';

type Status = ExecutionStatus | 'NOT_STARTED';

/** An execution that has ended, as its event reports it. */
interface EndedExecution {
  runId: string;
  status: Exclude<ExecutionStatus, 'RUNNING'>;
}

interface Reconciled {
  /** The run whose claims were moved on, and its outcome. */
  settled: { runId: string; outcome: Outcome } | null;
  /** Landed file versions that were not known yet. */
  registered: number;
  /** The run that was started. */
  started: string | null;
}

/**
 * Puts right what events and executions left behind (docs/architecture.md, "Crashes"): says what waits (on schedule), settles the run that ended
 * and frees its lock, starts the follow-up, and registers landed file versions whose event was lost (on schedule).
 * @param told the execution that the event is about: if asked at this moment, Step Functions may still call it RUNNING
 */
export async function reconcileRuns(ports: Ports, occasion: Occasion, told: EndedExecution | null = null): Promise<Reconciled> {
  const began = ports.now().getTime();
  const lock = await ports.ledger.lock();
  const isTold = told !== null && told.runId === lock?.runId;
  const status = lock === null ? null : isTold ? told.status : await ports.executions.status(lock.runId);
  // First: what follows may fail every time, and then nothing else reports how long files have waited.
  if (occasion === 'schedule') await logBacklog(ports, status === 'RUNNING' ? (lock?.runId ?? null) : null);
  const ended = lock !== null && status !== 'RUNNING' && status !== 'NOT_STARTED';
  const settled = ended ? { runId: lock.runId, outcome: await settleEnded(ports, lock, status, occasion) } : null;
  if (told !== null && !isTold) await tellLate(ports, told);

  const isBroken = settled?.outcome === 'interrupted' || (settled?.outcome === 'nothing to do' && status !== 'SUCCEEDED');
  const due = status === 'NOT_STARTED' || (await hasReasonToRun(ports, occasion, isBroken));
  const mayBeChanged =
    occasion === 'schedule' || (settled?.outcome === 'gate failed' && (await ranForFiles(ports, settled.runId)));
  const started = due ? await requestRun(ports) : mayBeChanged ? await runForDefinition(ports) : null;
  if (settled?.outcome === 'published') await addColumns(ports, settled.runId);
  if (occasion !== 'schedule') return { settled, registered: 0, started };

  // Last, since there may be millions of versions to list: nothing else waits for it or fails with it.
  const { registered, failure } = await registerMissed(ports, began);
  const followUp = registered > 0 && started === null ? await requestRun(ports) : null;
  if (failure !== null) throw failure.error;
  return { settled, registered, started: started ?? followUp };
}

async function settleEnded(ports: Ports, lock: Lock, status: Status | null, occasion: Occasion): Promise<Outcome> {
  const { runId, publishing } = lock;
  // First: a publish that is still working is to finish, not to be stopped.
  let resumed = publishing && (await resumePublish(ports, lock, status));
  await ports.executions.stopJobs(runId);
  // Nothing moves yet, but from here on the run claims nothing more, and none of its jobs begins to publish.
  await ports.ledger.settle(runId, []);
  if (!publishing && (await isPublishing(ports, runId))) {
    // It began after the lock was read and may be half done: from there the only way is forward.
    resumed = await resumePublish(ports, lock, status);
  }
  const outcome = await settleRun(ports, runId);
  try {
    await reportEnded(ports, { runId, status, outcome, resumed });
    await announceHeld(ports, runId);
  } catch (error) {
    // An event comes again, and ends up in a queue with an alarm. On a scheduled pass runs go on, or one alert that can't be sent would stop them
    // all; the event then reports the run.
    if (occasion === 'execution ended') throw error;
    ports.log('alert_failed', { runId, error: messageOf(error) });
  }
  await ports.ledger.freeLock(runId, lock.fence);
  return outcome;
}

/**
 * Tells the landing tables of all fields that a run has found besides the contract's: `catalog` sees only the first record of a file, and none
 * of a gzip file. Readers can do without for a while, so nothing fails with it.
 */
async function addColumns(ports: Ports, runId: string): Promise<void> {
  try {
    for (const { staging } of await readStepMetrics(ports.runFiles, runId)) {
      if (staging === undefined) continue;
      const fields = staging.files.flatMap(({ unknownFields }) => unknownFields);
      if (fields.length > 0) await ensureColumns(ports, staging.landingTable, fields);
    }
  } catch (error) {
    ports.log('columns_not_added', { runId, error: messageOf(error) });
  }
}

/** Reports a run that the schedule settled before its event came, but could not report. */
async function tellLate(ports: Ports, { runId, status }: EndedExecution): Promise<void> {
  if ((await ports.runFiles.read(runId, 'report.md')) === null)
    await reportEnded(ports, { runId, status, outcome: await settleRun(ports, runId), resumed: false });
  await announceHeld(ports, runId);
}

async function isPublishing(ports: Ports, runId: string): Promise<boolean> {
  const lock = await ports.ledger.lock();
  return lock?.runId === runId && lock.publishing;
}

/**
 * Repeats a publish that did not finish; false if there is nothing to repeat. For a published run, only what follows the publishing can be left,
 * such as making older snapshots forget who withdrew: if that fails again, the next publish does it, and no run has to wait for it.
 */
async function resumePublish(ports: Ports, { runId, fence }: Lock, status: Status | null): Promise<boolean> {
  const isPublished = (await ports.lake.publishedRun())?.runId === runId;
  if (isPublished && (status === 'SUCCEEDED' || (await failedAfterPublish(ports, runId)))) return false;
  try {
    await ports.lake.resumePublish(runId, fence);
    return true;
  } catch (error) {
    if (!isPublished) throw error;
    ports.log('publish_not_finished', { runId, error: messageOf(error) });
    return false;
  }
}

async function failedAfterPublish({ runFiles }: Ports, runId: string): Promise<boolean> {
  return (await readRunFile(runFiles, runId, 'report.json', reportSchema))?.error?.name === COUNTS_DIFFER;
}

/**
 * A run that was killed could not report, and one whose publish was finished here has reported a failure that is over. A run that planned
 * nothing has nothing to report, unless it failed: what failed may have been Plan, and its report too.
 */
async function reportEnded(
  ports: Ports,
  { runId, status, outcome, resumed }: { runId: string; status: Status | null; outcome: Outcome; resumed: boolean },
): Promise<void> {
  const overtaken = resumed && outcome === 'published';
  if (!overtaken && (await ports.runFiles.read(runId, 'report.md')) !== null) return;
  if (status !== 'FAILED' && (await readRunFile(ports.runFiles, runId, 'manifest.json', manifestSchema)) === null) return;
  await reportRun(
    ports,
    runId,
    outcome === 'published'
      ? null
      : {
          name: 'Interrupted',
          cause: `the execution is ${status} and left no report: ${status === 'FAILED' ? 'reporting failed too' : 'it was killed or aborted, or took too long'}`,
        },
  );
}

/**
 * A run that broke off, in a job or already in Plan, is not followed by another at once: what broke it would break that one too. The next event
 * or schedule tries again.
 */
async function hasReasonToRun(ports: Ports, occasion: Occasion, isBroken: boolean): Promise<boolean> {
  if (occasion === 'execution ended' && isBroken) return false;
  return (await ports.ledger.pending(1)).length > 0;
}

/** Whether a run was started for its files: if these are held now, a changed definition that it would also have applied is still due. */
async function ranForFiles({ runFiles }: Ports, runId: string): Promise<boolean> {
  return (await readRunFile(runFiles, runId, 'manifest.json', manifestSchema))?.reason === 'files';
}

/** Starts a run if the tables would hold something else today, but not for ever: what fails repeatedly waits for a file or a person. */
async function runForDefinition(ports: Ports): Promise<string | null> {
  const { definition } = ports;
  const memory = await ports.ledger.memory();
  const runs = memory.tried?.definition === definition ? memory.tried.runs : 0;
  if (!definitionChanged(await ports.ledger.published(), definition)) {
    // Should it be replaced and come back, its runs count anew.
    if (runs > 0) await ports.ledger.remember({ ...memory, tried: null });
    return null;
  }
  if (runs >= DEFINITION_TRIES) {
    ports.log('definition_given_up', { definition, runs });
    return null;
  }
  const started = await requestRun(ports);
  if (started !== null) await ports.ledger.remember({ ...memory, tried: { definition, runs: runs + 1 } });
  return started;
}
