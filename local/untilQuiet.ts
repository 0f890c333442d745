import { setTimeout } from 'node:timers/promises';
import type { LocalHome } from './home.ts';

/** A file is taken once it has not changed for this long. */
export const STABLE_MS = 500;
const POLL_MS = 50;
const TELL_AFTER_MS = 2000;

/**
 * Waits until no landed file that is still to be taken is growing: a program may be writing it right now.
 * `own` are keys that this process put there whole.
 */
export async function untilQuiet(home: LocalHome, own: ReadonlySet<string>, tell: (text: string) => void): Promise<void> {
  const started = Date.now();
  let told = false;
  for (;;) {
    const growing = await growingFiles(home, own);
    if (growing.length === 0) return;
    if (!told && Date.now() - started > TELL_AFTER_MS) {
      tell(`Waiting until ${growing.slice(0, 3).join(', ')} stops growing; a name that ends in .part is left alone`);
      told = true;
    }
    await setTimeout(POLL_MS);
  }
}

async function growingFiles(home: LocalHome, own: ReadonlySet<string>): Promise<string[]> {
  const growing: string[] = [];
  for await (const page of home.landing.list()) {
    const unknown = await home.ledger.unknown(page.filter(({ key }) => !own.has(key)));
    growing.push(...unknown.filter(({ version }) => isYoung(version)).map(({ key }) => key));
  }
  return growing;
}

/** A modification time in the future comes from another clock and says nothing. */
function isYoung(version: string): boolean {
  const modified = Number(BigInt(version.slice(version.indexOf('-') + 1)) / 1_000_000n);
  const age = Date.now() - modified;
  return age >= 0 && age < STABLE_MS;
}
