import { constants, createReadStream } from 'node:fs';
import { access, copyFile, link, mkdir, readdir, realpath, rm, stat } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { UsageError } from '../functions/core/errors.ts';
import { LANDING_TABLES } from '../functions/core/steps.ts';
import type { LandingTable } from '../functions/core/steps.ts';
import { isIgnoredName } from '../functions/core/catalogFile.ts';
import { codeOf, isMissing, pathOf } from './systemErrors.ts';
import { isBelow } from './isBelow.ts';
import { isNotUtf8 } from './landing.ts';
import { listed } from './listed.ts';
import { clearKilled } from './killedProcesses.ts';

/** A file to be dropped, and the landing table it belongs to. */
export interface Drop {
  table: LandingTable;
  file: string;
}

export interface Dropped {
  key: string;
  /** False if this name already held the same content. */
  added: boolean;
}

const WORDS: readonly (readonly [RegExp, LandingTable])[] = [
  [/customer/g, 'customer_landing'],
  [/accelerometer/g, 'accelerometer_landing'],
  [/step[_-]?trainer/g, 'step_trainer_landing'],
];

/** The landing table that the words in a path name; the one nearest the file name counts. */
function tableOfPath(relative: string): LandingTable | null {
  for (const part of relative.toLowerCase().split(path.sep).reverse()) {
    const found = WORDS.flatMap(([word, table]) => [...part.matchAll(word)].map(({ index }) => ({ index, table })));
    const last = found.sort((one, other) => one.index - other.index).at(-1);
    if (last !== undefined) return last.table;
  }
  return null;
}

/**
 * The files of sources (files, or folders with everything below them except the lake itself), each with its landing table. `tell` reports
 * what is left out.
 * @throws UsageError naming sources that don't exist and files whose table is unclear; nothing is copied then
 */
export async function findDrops(sources: readonly string[], lake: string | null, tell: (text: string) => void): Promise<Drop[]> {
  const drops: Drop[] = [];
  const untold: string[] = [];
  for (const source of sources) {
    for (const { file, below } of await filesOf(source, lake, tell)) {
      const table = tableOfPath(below) ?? tableOfPath(path.normalize(source));
      if (table === null) untold.push(file);
      else drops.push({ table, file });
    }
  }
  if (untold.length > 0) {
    throw new UsageError(
      `${listed(`Can't tell which landing table ${untold.length === 1 ? 'this file belongs' : 'these files belong'} to`, untold)}\n` +
        'Expected the word customer, accelerometer or step_trainer in the path; nothing was copied. ' +
        'To name the table yourself: stedi drop TABLE FILE…',
    );
  }
  return drops;
}

/**
 * Landing ignores such files, so a copy would wait there for ever.
 * @throws UsageError for a name that is ignored
 */
export function refuseIgnoredName(file: string): void {
  if (!isIgnoredName(path.basename(file))) return;
  throw new UsageError(
    `${file}: a file whose name begins with a dot or ends in .part or .tmp is never read; rename it. Nothing was copied`,
  );
}

async function filesOf(
  source: string,
  lake: string | null,
  tell: (text: string) => void,
): Promise<{ file: string; below: string }[]> {
  const found = await stat(source).catch((error: unknown) => {
    if (isMissing(error)) throw new UsageError(`${source} does not exist; expected a file or a folder with landing files`);
    throw error;
  });
  if (!found.isDirectory()) {
    if (!found.isFile()) throw new UsageError(`${source} is neither a file nor a folder; nothing was copied`);
    refuseIgnoredName(source);
    return [{ file: source, below: path.basename(source) }];
  }
  // People may work in the folder with their files and have the lake there.
  const home = lake === null ? null : await realpath(lake).catch(() => null);
  const place = await realpath(source);
  const isOfLake = (below: string): boolean => home !== null && !isBelow(home, place) && isBelow(home, path.join(place, below));
  const entries = await readdir(source, { recursive: true, withFileTypes: true }).catch(explainName);
  const links = entries.filter((entry) => entry.isSymbolicLink()).map((entry) => path.join(entry.parentPath, entry.name));
  const linked = await Promise.all(
    links.map(async (link) => ((await stat(link).catch(() => null))?.isFile() === true ? link : null)),
  );
  const skipped = links.filter((link) => !linked.includes(link));
  if (skipped.length > 0) tell(`Left out, because these links lead to no file: ${skipped.join(', ')}`);
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .concat(linked.filter((link) => link !== null))
    .map((file) => ({ file, below: path.relative(source, file) }))
    .filter(({ below }) => !below.split(path.sep).some(isIgnoredName) && !isOfLake(below))
    .sort((one, other) => (one.below < other.below ? -1 : 1));
  if (files.length === 0) tell(`${source} has no file to put into landing`);
  return files;
}

/** Puts files into landing. A name that is taken is never overwritten: other content gets a suffix. */
export async function dropFiles(landingRoot: string, drops: readonly Drop[]): Promise<Dropped[]> {
  const dropped: Dropped[] = [];
  for (const { file } of drops) await access(file, constants.R_OK).catch(explainName); // before anything is copied
  for (const drop of drops) dropped.push(await dropFile(landingRoot, drop));
  return dropped;
}

function explainName(error: unknown): never {
  const at = pathOf(error);
  if (isMissing(error) && at !== null && isNotUtf8(at))
    throw new UsageError(`${at}: its name is not UTF-8; rename it. Nothing was copied`);
  throw error;
}

async function dropFile(landingRoot: string, { table, file }: Drop): Promise<Dropped> {
  const folder = path.join(landingRoot, table);
  await mkdir(folder, { recursive: true });
  const partial = path.join(folder, partialName(process.pid));
  try {
    await copyFile(file, partial, constants.COPYFILE_FICLONE);
    for (let number = 1; ; number += 1) {
      const name = suffixed(path.basename(file), number);
      const target = path.join(folder, name);
      try {
        await link(partial, target); // unlike rename, it never replaces
        return { key: `${table}/${name}`, added: true };
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error;
        if (await sameContent(partial, target)) return { key: `${table}/${name}`, added: false };
      }
    }
  } finally {
    await rm(partial, { force: true });
  }
}

/** Removes what killed copies have left in landing. */
export function clearKilledDrops(landingRoot: string): void {
  for (const table of LANDING_TABLES) clearKilled(path.join(landingRoot, table), partialName);
}

/** Without the file's name, which may have the maximum length. */
function partialName(pid: number): string {
  return `.drop.${pid}.part`;
}

/** In bytes, as file systems allow. */
const LONGEST_NAME = 255;
/** What follows a dot and is longer, in bytes, is no ending like `.json.gz`. */
const LONGEST_ENDING = 64;

/** `readings.json` becomes `readings-2.json`; a name that would be too long is cut. */
export function suffixed(name: string, number: number): string {
  if (number === 1) return name;
  const dots = [name.indexOf('.', 1), name.lastIndexOf('.')].filter((at) => at > 0);
  const dot = dots.find((at) => Buffer.byteLength(name.slice(at)) <= LONGEST_ENDING) ?? name.length;
  const ending = `-${number}${name.slice(dot)}`;
  const stem = [...name.slice(0, dot)];
  while (Buffer.byteLength(stem.join('') + ending) > LONGEST_NAME) stem.pop();
  return stem.join('') + ending;
}

async function sameContent(one: string, other: string): Promise<boolean> {
  if ((await stat(one)).size !== (await stat(other)).size) return false;
  return (await hashOf(one)) === (await hashOf(other));
}

export async function hashOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}
