import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { codeOf } from './systemErrors.ts';

/** Whether a process on this machine still runs: what a killed one has left is nobody's. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM'; // another user's
  }
}

/** Removes the files that killed processes have left in a folder; `nameOf` is how a process, by its id, names its own: it ends in `.<pid>.part`. */
export async function clearKilled(folder: string, nameOf: (pid: number) => string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const [, digits] = /\.(\d+)\.part$/.exec(name) ?? [];
    const pid = Number(digits);
    if (digits !== undefined && name === nameOf(pid) && !isAlive(pid)) await rm(path.join(folder, name), { force: true });
  }
}
