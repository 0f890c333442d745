import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { scan } from './scan.ts';
import type { Scanned, ScanTask } from './scan.ts';
import type { ScanAnswer } from './scanWorker.ts';

/** Below this many bytes starting threads costs more than it saves. */
const WORTH_THREADS = 128 * 1024 * 1024;

/** Scans files, several at a time when they are large; results in the order of the tasks. */
export async function scanAll(tasks: readonly ScanTask[], bytes: number): Promise<Scanned[]> {
  const threads = Math.min(availableParallelism(), tasks.length);
  if (bytes < WORTH_THREADS || threads < 2) {
    const scanned: Scanned[] = [];
    for (const task of tasks) scanned.push(await scan(task));
    return scanned;
  }
  const workers = Array.from({ length: threads }, () => new Worker(new URL('./scanWorker.ts', import.meta.url)));
  try {
    return await distribute(tasks, workers);
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

function distribute(tasks: readonly ScanTask[], workers: readonly Worker[]): Promise<Scanned[]> {
  return new Promise((resolve, reject) => {
    const scanned: Scanned[] = [];
    let next = 0;
    let open = tasks.length;
    const give = (worker: Worker): void => {
      const task = tasks[next];
      if (task === undefined) return;
      worker.postMessage({ number: next, task });
      next += 1;
    };
    for (const worker of workers) {
      worker.on('error', reject);
      worker.on('message', (answer: ScanAnswer) => {
        if ('error' in answer) {
          reject(new Error(answer.error));
          return;
        }
        scanned[answer.number] = answer.scanned;
        open -= 1;
        if (open === 0) resolve(scanned);
        else give(worker);
      });
      give(worker);
    }
  });
}
