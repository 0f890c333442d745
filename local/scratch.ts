import { readdirSync, rmSync } from 'node:fs';
import path from 'node:path';

const NAME = /^tmp-(\d+)$/;

/** The folder where this process keeps, in a lake, what does not fit into memory: DuckDB of two processes would use the same file names in one. */
export function scratchOf(lake: string): string {
  return path.join(lake, `tmp-${process.pid}`);
}

/** Removes what processes that were killed have left in a lake. */
export function clearDeadScratch(lake: string): void {
  for (const name of readdirSync(lake)) {
    const [, pid] = NAME.exec(name) ?? [];
    if (pid !== undefined && !isAlive(Number(pid))) rmSync(path.join(lake, name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return typeof error === 'object' && error !== null && 'code' in error && error.code === 'EPERM'; // another user's
  }
}
