import { readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { isAlive } from './killedProcesses.ts';

const NAME = /^tmp-(\d+)$/;

/** This process's folder in a lake for what does not fit into memory: two DuckDB processes would use the same file names in one. */
export function scratchOf(lake: string): string {
  return path.join(lake, `tmp-${process.pid}`);
}

/** Removes what killed processes have left in a lake. */
export function clearKilledScratch(lake: string): void {
  for (const name of readdirSync(lake)) {
    const [, pid] = NAME.exec(name) ?? [];
    if (pid !== undefined && !isAlive(Number(pid))) rmSync(path.join(lake, name), { recursive: true, force: true });
  }
}
