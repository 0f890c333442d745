import type { FileVersion, Memory, Ports } from '../ports.ts';
import { catalogFiles } from './catalogFile.ts';
import { chunked } from './parallel.ts';

/** A pass stops listing after this long; a function on AWS has 15 minutes. */
const LISTING_MS = 10 * 60_000;

/** How many unknown files are looked at side by side. */
const CATALOGED_AT_ONCE = 100;

const DAY_MS = 24 * 60 * 60_000;

/**
 * Registers landed file versions that the ledger does not know. What is not listed in time is listed by the next pass; after a failure that one
 * starts over. Everything is looked up in the ledger once a day; in between, what has landed since then and on the day before: a large file is
 * listed with the time at which its upload began.
 * @param began when the pass began, in milliseconds since 1970
 */
export async function registerMissed(
  ports: Ports,
  began: number,
): Promise<{ registered: number; failure: { error: unknown } | null }> {
  const before = await ports.ledger.memory();
  const checking = before.listedTo === null ? checkingFrom(before, began) : before.checking;
  const known = checking !== null || before.checked === null ? null : new Date(Date.parse(before.checked) - DAY_MS).toISOString();
  let registered = 0;
  let listedTo: string | null = null;
  let isPaused = false;
  let failure: { error: unknown } | null = null;
  try {
    // A page may end amid the versions of its last key, so the listing goes on after the key before that.
    let complete = before.listedTo;
    let last: string | null = null;
    for await (const page of ports.landing.list(before.listedTo)) {
      const doubtful = page.filter(({ landedAt }) => known === null || landedAt === undefined || landedAt >= known);
      registered += await registerUnknown(ports, doubtful);
      for (const { key } of page) {
        if (key === last) continue;
        complete = last ?? complete;
        last = key;
      }
      if (ports.now().getTime() - began < LISTING_MS) continue;
      listedTo = complete;
      isPaused = true;
      ports.log('listing_paused', { listedTo });
      break;
    }
  } catch (error) {
    failure = { error };
  }
  if (registered > 0) ports.log('missed_files_registered', { files: registered });
  const isDone = !isPaused && failure === null;
  const after = {
    listedTo,
    checking: isPaused ? checking : null,
    checked: isDone ? (checking ?? before.checked) : before.checked,
  };
  if (after.listedTo !== before.listedTo || after.checked !== before.checked)
    await ports.ledger.remember({ ...(await ports.ledger.memory()), ...after });
  return { registered, failure };
}

/** The beginning of a listing that begins now, if it looks up everything; otherwise null. */
function checkingFrom({ checked }: Memory, began: number): string | null {
  return checked === null || began - Date.parse(checked) >= DAY_MS ? new Date(began).toISOString() : null;
}

/** Those that fail are left out: the others go on, and a later listing finds them again. */
async function registerUnknown(ports: Ports, page: readonly FileVersion[]): Promise<number> {
  const unknown = await ports.ledger.unknown(page);
  let registered = 0;
  for (const some of chunked(unknown, CATALOGED_AT_ONCE)) {
    const outcomes = await catalogFiles(ports, some);
    registered += outcomes.filter(({ status }) => status === 'fulfilled').length;
  }
  return registered;
}
