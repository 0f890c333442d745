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
