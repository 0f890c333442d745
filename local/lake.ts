import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { LakeUnusableError, messageOf, UsageError } from '../functions/core/errors.ts';
import { parseSettings, settingsJson, PUBLISHED_REFERENCE } from '../functions/core/settings.ts';
import type { Settings } from '../functions/core/settings.ts';
import { clearKilledDrops } from './dropFiles.ts';
import { LocalHome } from './home.ts';
import type { HomeOptions } from './home.ts';
import { lakePaths } from './lakePaths.ts';
import { ProcessLock } from './processLock.ts';
import { finishReplacing, isReplacing } from './replaceTables.ts';
import { PROJECT } from './projectFiles.ts';
import type { Output } from './output.ts';

/** The options that every command takes. */
export interface CommonOptions {
  lake: string;
  json: boolean;
  settings?: string;
  set: string[];
  expect?: 'published';
  /** A deployed stage instead of a lake on this machine. */
  stage?: string;
  region?: string;
}

/** @throws UsageError for a settings file that is missing, is no JSON or holds unknown or wrong settings */
export function loadSettings({ settings: file, set, expect }: CommonOptions): Settings {
  const location = file ?? new URL('settings.json', PROJECT);
  const name = file ?? 'settings.json';
  let value: unknown;
  try {
    value = settingsJson(readFileSync(location, 'utf8'));
  } catch (error) {
    throw new UsageError(`Settings: ${name} can't be read (${messageOf(error)}); expected a JSON file, see settings.schema.json`);
  }
  const settings = parseSettings(value, name, set);
  return expect === 'published'
    ? { ...settings, expectedCounts: { ...settings.expectedCounts, ...PUBLISHED_REFERENCE } }
    : settings;
}

/** @throws UsageError when there is no lake yet */
export function requireLake(folder: string): void {
  const { ledger, landing } = lakePaths(folder);
  if (existsSync(ledger) || existsSync(landing)) return; // files may have been dropped before the first run
  throw new UsageError(
    `${folder} holds no lake yet; "stedi run SOURCE --lake ${folder}" makes one, "npm start" makes one with sample data`,
  );
}

/** What to do where landing is missing. */
export const PUT_BACK = 'put it back; if its files are meant to be gone, make an empty folder there';

/** @throws LakeUnusableError when a lake's landing folder is missing: an empty one in its place would look like nothing new, for ever */
function requireLanding(folder: string): void {
  const { ledger, landing } = lakePaths(folder);
  if (existsSync(ledger) && !existsSync(landing)) throw new LakeUnusableError(`${landing} is missing: ${PUT_BACK}`);
}

/** Opens the lake for one command; nothing else may work on it meanwhile. */
export async function withLake<T>(
  options: CommonOptions,
  homeOptions: Pick<HomeOptions, 'log' | 'onAlert' | 'onBusy' | 'settleMs' | 'stableMs'> & Partial<Pick<HomeOptions, 'settings'>>,
  command: string,
  work: (home: LocalHome) => Promise<T>,
): Promise<T> {
  const { settings = loadSettings(options) } = homeOptions;
  makeLakeFolder(options.lake);
  const lock = await ProcessLock.acquire(options.lake, `stedi ${command}`);
  try {
    finishReplacing(options.lake);
    clearKilledDrops(lakePaths(options.lake).landing);
    const home = new LocalHome({ ...homeOptions, folder: options.lake, settings });
    try {
      return await work(home);
    } finally {
      home.close();
    }
  } finally {
    lock.release();
  }
}

/** Opens what can be read during a run: the ledger, landing and the runs' files. */
export async function withLedger<T>(options: CommonOptions, work: (home: LocalHome) => Promise<T>): Promise<T> {
  requireLake(options.lake);
  await finishKilledReplacement(options.lake);
  const home = new LocalHome({ folder: options.lake, settings: loadSettings(options) });
  try {
    return await work(home);
  } finally {
    home.close();
  }
}

/** A retry's changes to a ledger that is still to be replaced would be lost. A process that holds the lake finishes it by itself. */
async function finishKilledReplacement(folder: string): Promise<void> {
  if (!isReplacing(folder) || ProcessLock.isHeld(folder)) return;
  const lock = await ProcessLock.acquire(folder, 'stedi');
  try {
    finishReplacing(folder);
  } finally {
    lock.release();
  }
}

/**
 * For commands that work on a lake: makes its folder if there is none, private to its owner, as it holds what people have sent.
 * @throws LakeUnusableError if it can't be made, or if the lake has lost its landing folder
 */
export function makeLakeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new LakeUnusableError(
      `the lake ${folder} can't be created: ${messageOf(error)}; choose another folder with --lake, or fix its permissions`,
    );
  }
  requireLanding(folder);
}

export interface CommandContext {
  options: CommonOptions;
  output: Output;
}
