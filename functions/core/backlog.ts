import type { Ports } from '../ports.ts';
import { manifestSchema, readRunFile } from './runFiles.ts';

/** The files claimed next; how many wait behind them makes no difference to an alarm. */
const LOOKED_AT = 1_000;

/**
 * Logs what waits and for how long: pending files, and the run in progress. Alarms on AWS are based on this event.
 * @param running the run in progress, if any; its time counts from its plan
 */
export async function logBacklog(
  ports: Pick<Ports, 'ledger' | 'runFiles' | 'log' | 'now'>,
  running: string | null,
): Promise<void> {
  const pending = await ports.ledger.pending(LOOKED_AT);
  const manifest = running === null ? null : await readRunFile(ports.runFiles, running, 'manifest.json', manifestSchema);
  const minutesSince = (time: string) => Math.round((ports.now().getTime() - Date.parse(time)) / 60_000);
  ports.log('backlog', {
    pendingFiles: pending.length,
    oldestPendingMinutes: Math.max(0, ...pending.map(({ waitsSince }) => minutesSince(waitsSince))),
    runMinutes: manifest === null ? 0 : minutesSince(manifest.plannedAt),
  });
}
