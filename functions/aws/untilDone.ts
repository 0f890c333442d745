import { setTimeout } from 'node:timers/promises';

const TRIES = 12;
const LONGEST_PAUSE_MS = 5_000;

/**
 * Repeats what a service may refuse for the moment, with growing, random pauses, until `attempt` returns true.
 * @throws Error after twelve tries, about twenty seconds: nothing is dropped silently
 */
export async function untilDone(what: string, attempt: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await attempt());) {
    tries += 1;
    if (tries === TRIES) throw new Error(`${what}: refused ${TRIES} times; try again later`);
    await setTimeout(Math.random() * Math.min(25 * 2 ** tries, LONGEST_PAUSE_MS));
  }
}
