import type { FileVersion, Ledger } from '../../functions/ports.ts';

/** Frees the lock, whoever holds it. */
export async function freed(ledger: Ledger): Promise<void> {
  const lock = await ledger.lock();
  if (lock !== null) await ledger.freeLock(lock.runId, lock.fence);
}

/** Holds pending file versions, as a run does that can't read them. */
export async function held(ledger: Ledger, files: readonly FileVersion[], why: string, runId = 'run-held'): Promise<void> {
  await freed(ledger);
  const lock = await ledger.takeLock(runId);
  await ledger.hold(
    runId,
    lock?.fence ?? 0,
    files.map((file) => ({ file, why })),
  );
  await freed(ledger);
}
