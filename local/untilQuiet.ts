import { setTimeout } from 'node:timers/promises';
import type { LocalHome } from './home.ts';

/** How long a file must be unchanged before `run` takes it: somebody waits for the outcome. */
export const STABLE_MS = 500;
/** The same for `watch`, beside programs that write when they have something. */
export const WATCHED_STABLE_MS = 2_000;
const POLL_MS = 50;
const TELL_AFTER_MS = 2000;
const PATIENCE_MS = 10_000;

/**
 * Waits until the landed files that are growing now stop. One that goes on is left for later; so are files that arrive meanwhile, or
 * a program that never pauses would keep everything waiting.
 */
export async function untilQuiet(home: LocalHome, tell: (text: string) => void): Promise<void> {
  const started = Date.now();
  let told = false;
  let growing = (await home.ledger.unknown(await home.landing.growing())).map(({ key }) => key);
  while (growing.length > 0 && Date.now() - started < PATIENCE_MS) {
    if (!told && Date.now() - started > TELL_AFTER_MS) {
      tell(`Waiting for ${growing.slice(0, 3).join(', ')} to stop growing`);
      told = true;
    }
    await setTimeout(POLL_MS);
    const still = new Set((await home.landing.growing()).map(({ key }) => key));
    growing = growing.filter((key) => still.has(key));
  }
  if (growing.length > 0) tell(`Left for later, still growing: ${growing.join(', ')}`);
}
