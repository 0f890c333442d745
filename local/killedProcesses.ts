import { readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { codeOf } from './systemErrors.ts';

/** Removes what killed processes have left in a folder; `nameOf` is how a process, by its id, names its own. */
export function clearKilled(folder: string, nameOf: (pid: number) => string): void {
  for (const name of namesIn(folder)) {
    const pids = (name.match(/\d+/g) ?? []).map(Number);
    if (pids.some((pid) => name === nameOf(pid) && !isAlive(pid)))
      rmSync(path.join(folder, name), { recursive: true, force: true });
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Whether a process on this machine still runs. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM'; // another user's
  }
}
