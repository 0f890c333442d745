import { readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { isAlive } from './isAlive.ts';

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
