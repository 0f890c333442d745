import { parentPort } from 'node:worker_threads';
import { messageOf } from '../../functions/core/errors.ts';
import { scan } from './scan.ts';
import type { Scanned, ScanTask } from './scan.ts';

/** One answer to one task, by its number. */
export type ScanAnswer = { number: number; scanned: Scanned } | { number: number; error: string };

parentPort?.on('message', ({ number, task }: { number: number; task: ScanTask }) => {
  scan(task).then(
    (scanned) => parentPort?.postMessage({ number, scanned } satisfies ScanAnswer),
    (error: unknown) => parentPort?.postMessage({ number, error: messageOf(error) } satisfies ScanAnswer),
  );
});
