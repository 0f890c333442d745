import { codeOf } from './systemErrors.ts';

/** Whether a process of this machine goes on: what one that was killed has left is nobody's. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM'; // another user's
  }
}
