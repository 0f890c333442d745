import type { Executions, Ports } from '../ports.ts';

export type RequestPorts = Pick<Ports, 'ledger' | 'newRunId' | 'log'> & { executions: Pick<Executions, 'start' | 'status'> };

/**
 * Asks for a run. Free while one is going: the file stays pending and the end of that run starts one follow-up.
 * The name is planned before the start, so a crash in between is repaired by starting the same name again (docs/architecture.md, "Crashes").
 */
export async function requestRun(ports: RequestPorts): Promise<string | null> {
  const planned = await ports.ledger.lock();
  if (planned === null) {
    const lock = await ports.ledger.takeLock(ports.newRunId());
    if (lock === null) return null; // somebody else was faster, and starts it
    ports.log('run_requested', { runId: lock.runId, fence: lock.fence });
    await ports.executions.start(lock.runId);
    return lock.runId;
  }
  if ((await ports.executions.status(planned.runId)) !== 'NOT_STARTED') return null;
  ports.log('run_start_repaired', { runId: planned.runId });
  await ports.executions.start(planned.runId);
  return planned.runId;
}

/** Asks for a run if files wait for one. */
export async function requestRunForPending(ports: RequestPorts): Promise<void> {
  if ((await ports.ledger.pending(1)).length > 0) await requestRun(ports);
}
