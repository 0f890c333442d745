import { setTimeout } from 'node:timers/promises';

/** Requests under way at the same time: as many as an SDK client has connections. */
const AT_ONCE = 50;

/** Works on all items, a bounded number at a time. The first failure ends it, and is thrown once the work under way has ended. */
export async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>, atOnce = AT_ONCE): Promise<R[]> {
  const results: R[] = [];
  const failures: unknown[] = [];
  const queue = items.entries();
  const worker = async (): Promise<void> => {
    for (const [at, item] of queue) {
      if (failures.length > 0) return;
      try {
        results[at] = await work(item);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker));
  if (failures.length > 0) throw failures[0];
  return results;
}

/** Lets a bounded number of tasks run at a time; the others wait for their turn. For callers that start more than they should. */
export function limited(atOnce = AT_ONCE): <R>(task: () => Promise<R>) => Promise<R> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (task) => {
    if (running >= atOnce) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await task();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next(); // its turn is handed on
    }
  };
}

const ROUNDS = 12;
const LONGEST_PAUSE_MS = 5_000;

/**
 * Repeats work that may be done only in part, with growing, random pauses, until nothing is left of it.
 * @param round works on what it is given and returns what is left of it
 * @throws Error if something is left after twelve rounds, about twenty seconds: nothing is dropped silently
 */
export async function untilDone<T>(
  what: string,
  items: readonly T[],
  round: (items: readonly T[]) => Promise<readonly T[]>,
): Promise<void> {
  let left = items;
  for (let tries = 0; left.length > 0; tries += 1) {
    if (tries === ROUNDS)
      throw new Error(`${what}: ${left.length} of ${items.length} were still refused after ${ROUNDS} tries; try again later`);
    if (tries > 0) await setTimeout(Math.random() * Math.min(25 * 2 ** tries, LONGEST_PAUSE_MS));
    left = await round(left);
  }
}

/** Splits into parts of at most this many. */
export function chunked<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, at) => items.slice(at * size, (at + 1) * size));
}
