import { setTimeout } from 'node:timers/promises';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { watch as watchFolder } from 'chokidar';
import { LakeBusyError } from '../../functions/core/errors.ts';
import { isIgnoredName } from '../../functions/core/catalogFile.ts';
import { LANDING_TABLES } from '../../functions/core/steps.ts';
import { LocalHome } from '../home.ts';
import { loadSettings } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import { progress } from '../output.ts';
import { ProcessLock, TRY_AGAIN } from '../processLock.ts';
import { STABLE_MS, untilQuiet } from '../untilQuiet.ts';

/** Events of one batch: what arrives within this time. */
const BATCH_MS = 100;
const RETRY_MS = 1000;

/** Stays and processes what arrives in the landing folders, until it is stopped. */
export async function watch({ options, output }: CommandContext): Promise<number> {
  const settings = loadSettings(options);
  mkdirSync(options.lake, { recursive: true });
  const home = new LocalHome({
    folder: options.lake,
    settings,
    settleMs: settings.settleSeconds * 1000,
    stableMs: STABLE_MS,
    log: progress(output),
    onAlert: async ({ text }) => output.say(`\n${text}`),
  });
  const stopped = stopSignal(output);
  const arrivals = new Arrivals(home);
  for (const table of LANDING_TABLES) mkdirSync(path.join(home.paths.landing, table), { recursive: true });
  const watcher = watchFolder(home.paths.landing, {
    ignored: (file) => file !== home.paths.landing && isIgnoredName(path.basename(file)),
    ignoreInitial: true,
    awaitWriteFinish: { stabilityThreshold: STABLE_MS, pollInterval: 100 },
  });
  watcher.on('add', (file) => arrivals.add(file)).on('change', (file) => arrivals.add(file));
  await new Promise<void>((resolve) => watcher.once('ready', resolve));
  output.say(`Watching ${home.paths.landing}; Ctrl-C ends`);

  try {
    await work(home, arrivals, true, output);
    while (!stopped.aborted) {
      await Promise.race([arrivals.next(), stopped.done]);
      if (arrivals.waiting) await work(home, arrivals, false, output);
    }
  } finally {
    await watcher.close();
    home.close();
  }
  output.result({ runs: home.ended }, () => 'Stopped; nothing is half done');
  return 0;
}

/** Takes the lake, announces what has arrived, and executes runs until nothing more arrives; then lets go of it. */
async function work(home: LocalHome, arrivals: Arrivals, first: boolean, output: CommandContext['output']): Promise<void> {
  const lock = await acquire(home.paths.folder, output);
  try {
    await home.requireTables();
    if (first) {
      await untilQuiet(home, (text) => output.say(text));
      await home.announceLanding();
      await home.reconcile();
    }
    do {
      await arrivals.announce();
      // Files that arrive during a run are registered at once, so that its end starts one follow-up for all of them.
      const announcing = arrivals.announceWhile(home.executions.drain());
      await announcing;
    } while (arrivals.waiting);
  } finally {
    lock.release();
  }
}

async function acquire(folder: string, output: CommandContext['output']): Promise<ProcessLock> {
  for (let told = false; ; told = true) {
    try {
      return ProcessLock.acquire(folder, 'stedi watch');
    } catch (error) {
      if (!(error instanceof LakeBusyError)) throw error;
      if (!told) output.say(`Waiting: ${error.message.replace(TRY_AGAIN, 'this one tries again by itself')}`);
      await setTimeout(RETRY_MS);
    }
  }
}

/** Files that have arrived and are not announced yet. */
class Arrivals {
  readonly #home: LocalHome;
  readonly #keys = new Set<string>();
  #wake: () => void = () => undefined;

  constructor(home: LocalHome) {
    this.#home = home;
  }

  get waiting(): boolean {
    return this.#keys.size > 0;
  }

  add(file: string): void {
    this.#keys.add(path.relative(this.#home.paths.landing, file).split(path.sep).join('/'));
    this.#wake();
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

  async announce(): Promise<void> {
    const keys = [...this.#keys];
    this.#keys.clear();
    const files = await Promise.all(keys.map((key) => this.#home.landing.current(key)));
    await this.#home.announce(files.filter((file) => file !== null));
  }

  async announceWhile(work: Promise<void>): Promise<void> {
    let working = true;
    const ended = work.finally(() => {
      working = false;
    });
    while (working) {
      await Promise.race([ended, setTimeout(BATCH_MS)]);
      if (this.waiting) await this.announce();
    }
    await ended;
  }
}

/** The first Ctrl-C (or SIGTERM) lets a run that is going end; the second one does not wait. */
function stopSignal(output: CommandContext['output']): { aborted: boolean; done: Promise<void> } {
  let resolve: () => void = () => undefined;
  const signal = { aborted: false, done: new Promise<void>((done) => (resolve = done)) };
  const stop = (): void => {
    if (signal.aborted) process.exit(130);
    signal.aborted = true;
    output.say('\nStopping after the run that is going; press Ctrl-C again to stop at once');
    resolve();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  return signal;
}
