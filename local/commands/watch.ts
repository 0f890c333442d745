import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { mkdirSync } from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { watch as watchFolder } from 'chokidar';
import { LakeBusyError, LakeUnusableError, messageOf } from '../../functions/core/errors.ts';
import type { Log } from '../../functions/core/events.ts';
import { isIgnoredName, landingTableOf } from '../../functions/core/catalogFile.ts';
import { requestRunForPending } from '../../functions/core/requestRun.ts';
import { LANDING_TABLES } from '../../functions/core/steps.ts';
import type { Ended } from '../executions.ts';
import { lakePaths } from '../lakePaths.ts';
import type { LocalHome } from '../home.ts';
import { loadSettings, makeLakeFolder, PUT_BACK, withLake } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import { progress } from '../output.ts';
import type { Output } from '../output.ts';
import { TRY_AGAIN } from '../processLock.ts';
import { untilQuiet, WATCHED_STABLE_MS } from '../untilQuiet.ts';

/** One batch of events: what arrives within this time. */
const BATCH_MS = 100;
const RETRY_MS = 1000;
/** How long until the next try when files wait because a run broke off; as by the schedule on AWS. */
const BROKEN_OFF_MS = 15 * 60_000;
/** How often landing is listed if the system can't watch all of it. */
const LISTING_MS = 10_000;

/** Processes what arrives in the landing folders until it is stopped. */
export async function watch({ options, output }: CommandContext): Promise<number> {
  const settings = loadSettings(options);
  const { landing } = lakePaths(options.lake);
  makeLakeFolder(options.lake);
  for (const table of LANDING_TABLES) mkdirSync(path.join(landing, table), { recursive: true });
  const show = progress(output);
  // An alert is sent within a state, so it is shown after that state's line.
  const alerts: string[] = [];
  const tellAlerts = (): void => {
    for (const text of alerts.splice(0)) output.say(`\n${text}`);
  };
  const homeOptions = {
    settings,
    settleMs: settings.settleSeconds * 1000,
    stableMs: WATCHED_STABLE_MS,
    log: (...fact: Parameters<Log>) => {
      show(...fact);
      if (fact[0] === 'state_succeeded') tellAlerts();
    },
    onAlert: async ({ text }: { text: string }) => void alerts.push(text),
    onEnded: (ended: Ended) => output.line(ended),
    onBusy: ({ message }: LakeBusyError) => output.say(`Waiting: ${message}`),
  };
  const stop = stopSignal(output);
  const arrivals = new Arrivals();
  let isLeft = false;
  let isBlind = false;
  let isGone = false;
  const watcher = watchFolder(landing, {
    ignored: (file) => file !== landing && isIgnoredName(path.basename(file)),
    ignoreInitial: true,
    awaitWriteFinish: { stabilityThreshold: WATCHED_STABLE_MS, pollInterval: 100 },
  });
  const arrived = (file: string): void => arrivals.add(path.relative(landing, file).split(path.sep).join('/'));
  try {
    watcher.on('add', arrived).on('change', arrived);
    watcher.on('unlinkDir', (folder) => {
      if (path.resolve(folder) !== path.resolve(landing)) return;
      isGone = true;
      arrivals.wake();
    });
    // Most often there are more files than the system can watch (fs.inotify.max_user_watches); each would be reported.
    watcher.on('error', (error) => {
      if (isBlind) return;
      isBlind = true;
      output.say(`Not everything can be watched: ${messageOf(error)}; landing is listed every ${LISTING_MS / 1000} s instead`);
      arrivals.wake();
    });
    await new Promise<void>((resolve) => watcher.once('ready', resolve));
    for (let isFirst = true; !stop.aborted; isFirst = false) {
      if (isGone) throw new LakeUnusableError(`${landing} is gone: ${PUT_BACK}, then start watch again`);
      // Opened anew each time: another command may have replaced the tables and the ledger meanwhile.
      const take = () =>
        withLake(options, homeOptions, 'watch', async (home) => {
          await home.requireTables();
          if (isFirst) output.say(`Watching ${landing}; Ctrl-C stops it`);
          if (isBlind && !isFirst && !(await arrivals.lookedFor(home))) return;
          isLeft = await work(home, arrivals, isFirst, output).finally(tellAlerts);
        });
      await whenFree(take, stop, output);
      if (!isGone) await somethingToDo(arrivals, isBlind ? LISTING_MS : isLeft ? BROKEN_OFF_MS : null, stop);
    }
  } finally {
    await watcher.close(); // or it would keep the process alive
  }
  output.say('Stopped; nothing is half done');
  return 0;
}

/** Resolves when files arrive, watch is to stop, or it is time to look again (`againMs`; null: never). */
async function somethingToDo(arrivals: Arrivals, againMs: number | null, stop: AbortSignal): Promise<void> {
  const over = new AbortController();
  const signal = AbortSignal.any([stop, over.signal]);
  const lookAgain = againMs === null ? [] : [setTimeout(againMs, undefined, { signal }).catch(() => undefined)];
  await Promise.race([arrivals.next(), aborted(stop), ...lookAgain]);
  over.abort();
}

/**
 * Announces what has arrived, tries again what an earlier run has left, and executes runs until nothing more arrives. Returns whether
 * anything is left: the run that should have taken it in broke off.
 */
export async function work(home: LocalHome, arrivals: Arrivals, isFirst: boolean, output: Pick<Output, 'say'>): Promise<boolean> {
  if (isFirst) {
    await untilQuiet(home, (text) => output.say(text));
    await home.announceLanding();
  }
  // No other process works on the lake, so a run that holds the run lock here was killed.
  if (isFirst || !arrivals.waiting || (await home.ledger.lock()) !== null) await home.reconcile();
  do {
    await arrivals.announce(home);
    // Files that arrive during a run are registered at once, so that its end starts one follow-up for all of them.
    const more = await arrivals.announceWhile(home, home.executions.drain());
    // An interrupted run starts no follow-up by itself, but what arrived while it ran is a reason to.
    if (more) await requestRunForPending(home.ports);
  } while (arrivals.waiting || home.executions.waiting);
  return (await home.ledger.pending(1)).length > 0;
}

/** Takes the lake as soon as no other process holds it; not at all once watch is to stop. */
async function whenFree(take: () => Promise<void>, stop: AbortSignal, output: Output): Promise<void> {
  for (let told = false; !stop.aborted; told = true) {
    try {
      await take();
      return;
    } catch (error) {
      if (!(error instanceof LakeBusyError)) throw error;
      if (!told) output.say(`Waiting: ${error.message.replace(TRY_AGAIN, 'watch tries again by itself')}`);
      await Promise.race([setTimeout(RETRY_MS), aborted(stop)]);
    }
  }
}

/** Keys of files that have arrived but are not announced yet. */
export class Arrivals {
  readonly #keys = new Set<string>();
  #wake: () => void = () => undefined;

  get waiting(): boolean {
    return this.#keys.size > 0;
  }

  add(key: string): void {
    this.#keys.add(key);
    this.#wake();
  }

  /** Ends a wait, as if something had arrived. */
  wake(): void {
    this.#wake();
  }

  /** Looks in landing for what was not reported; returns whether anything waits. */
  async lookedFor(home: LocalHome): Promise<boolean> {
    for (const { key } of await home.unknownLanded()) this.#keys.add(key);
    return this.waiting;
  }

  /** Resolves when something has arrived. */
  async next(): Promise<void> {
    if (!this.waiting) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    await setTimeout(BATCH_MS);
  }

  async announce(home: LocalHome): Promise<void> {
    const keys = [...this.#keys];
    this.#keys.clear();
    for (const key of keys) if (landingTableOf(key) === null) home.ports.log('key_ignored', { key });
    const files = await Promise.all(keys.map((key) => home.landing.current(key)));
    await home.announce(files.filter((file) => file !== null));
    home.tellMisnamed();
  }

  /** Returns whether anything has arrived meanwhile. */
  async announceWhile(home: LocalHome, work: Promise<void>): Promise<boolean> {
    let [working, more] = [true, false];
    const ended = work.finally(() => {
      working = false;
    });
    while (working) {
      await Promise.race([ended, setTimeout(BATCH_MS)]);
      if (!this.waiting) continue;
      more = true;
      await this.announce(home);
    }
    await ended;
    return more;
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort');
}

/** The first Ctrl-C (or SIGTERM) lets a current run finish; the second does not wait. */
function stopSignal(output: Output): AbortSignal {
  const stopping = new AbortController();
  const stop = (signal: 'SIGINT' | 'SIGTERM'): void => {
    if (stopping.signal.aborted) process.exit(128 + constants.signals[signal]);
    output.say('\nStopping; a run in progress finishes first, unless you press Ctrl-C again');
    stopping.abort();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  return stopping.signal;
}
