import { access, constants, open, readdir, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import type { FileVersion, Landing, Prepared } from '../functions/ports.ts';
import { isLandingTable } from '../functions/core/steps.ts';
import { chunked } from '../functions/core/parallel.ts';
import { isIgnoredName, landingTableOf, tablesFrom } from '../functions/core/catalogFile.ts';
import { messageOf } from '../functions/core/errors.ts';
import { isMissing } from './systemErrors.ts';
import { isBelow } from './isBelow.ts';

/** The file version of what is there: its size and when it changed, in ns. */
export function versionOf({ size, mtimeNs }: { size: bigint; mtimeNs: bigint }): string {
  return `${size}-${mtimeNs}`;
}

/** When the file of a version changed, in milliseconds since 1970. */
export function changedAt(version: string): number {
  return Number(BigInt(version.slice(version.indexOf('-') + 1)) / 1_000_000n);
}

/** The landing zone as a folder: `<root>/<table>/…`. */
export class FolderLanding implements Landing {
  readonly root: string;
  /** Keys that this process put there whole: they don't grow. */
  readonly own = new Set<string>();
  /** Keys of files met so far that nothing can read because of their name, with the reason. */
  readonly misnamed = new Map<string, string>();
  readonly #stableMs: number;

  /** `stableMs`: how long a file must be unchanged before it is listed; a program may still be writing it. */
  constructor(root: string, stableMs = 0) {
    this.root = root;
    this.#stableMs = stableMs;
  }

  pathOf(key: string): string {
    return path.join(this.root, ...key.split('/'));
  }

  /** The file version at a key now, or null when there is none (or its key belongs to no landing table). */
  async current(key: string): Promise<FileVersion | null> {
    const table = landingTableOf(key);
    if (table === null) return null;
    try {
      const found = await stat(this.pathOf(key), { bigint: true });
      if (!found.isFile()) return null;
      if (isUnmatchable(this.pathOf(key))) {
        this.misnamed.set(key, 'its path holds a backslash and one of [ * ?: rename it');
        return null;
      }
      return { table, key, version: versionOf(found), size: Number(found.size) };
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }

  async prepare(_runId: string, file: FileVersion): Promise<Prepared> {
    const current = await this.current(file.key);
    if (current === null)
      return {
        ready: false,
        why: 'the file vanished before it was read; "stedi retry" makes it pending if it is back unchanged, and forgets it otherwise',
      };
    if (current.version === file.version) {
      try {
        await access(this.pathOf(file.key), constants.R_OK);
        return { ready: true, input: null };
      } catch (error) {
        return {
          ready: false,
          refused: true,
          why: `it can't be read (${messageOf(error)}); fix its permissions, then "stedi retry"`,
        };
      }
    }
    return {
      ready: false,
      why: 'the file was overwritten before it was read; what is there now counts as a new file version; "stedi retry" forgets this one',
    };
  }

  async head(key: string, bytes: number): Promise<Uint8Array> {
    const file = await open(this.pathOf(key));
    try {
      const { buffer, bytesRead } = await file.read(new Uint8Array(bytes), 0, bytes, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  }

  async *list(after: string | null = null): AsyncIterable<FileVersion[]> {
    for await (const page of this.#all(after)) yield page.filter((file) => !this.#isGrowing(file));
  }

  /** Files that changed a moment ago. */
  async growing(): Promise<FileVersion[]> {
    const growing: FileVersion[] = [];
    for await (const page of this.#all()) growing.push(...page.filter((file) => this.#isGrowing(file)));
    return growing;
  }

  /** What lies beside the folders of the landing tables: no run will ever read it. */
  async strays(): Promise<string[]> {
    const entries = await readdir(this.root, { withFileTypes: true });
    const strays = entries.filter(({ name }) => !isLandingTable(name) && !isIgnoredName(name));
    return strays.map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name)).sort();
  }

  /** A modification time in the future comes from another clock and says nothing. */
  #isGrowing({ key, version }: FileVersion): boolean {
    if (this.#stableMs === 0 || this.own.has(key)) return false;
    const age = Date.now() - changedAt(version);
    return age >= 0 && age < this.#stableMs;
  }

  async *#all(after: string | null = null): AsyncIterable<FileVersion[]> {
    for (const table of tablesFrom(after)) {
      const first = after?.startsWith(`${table}/`) === true ? after.slice(table.length + 1) : '';
      for await (const names of this.#pages(table, first)) {
        const files = await Promise.all(
          names.map(async (name) => {
            const file = await this.current(`${table}/${name}`);
            if (file === null && isNotUtf8(name)) this.misnamed.set(`${table}/${name}`, 'its name is not UTF-8: rename it');
            return file;
          }),
        );
        yield files.filter((file) => file !== null);
      }
    }
  }

  async *#pages(table: string, after: string): AsyncIterable<string[]> {
    const folder = path.join(this.root, table);
    const names: string[] = [];
    for await (const file of filesBelow(folder)) {
      const name = path.relative(folder, file).split(path.sep).join('/');
      if (name > after) names.push(name);
    }
    names.sort();
    yield* chunked(names, 1000);
  }
}

/**
 * Files below a folder, also behind links to folders, as they are watched; for a folder that can't be opened by its name, that name. `links`: the
 * folders of the links on the way; none is read again behind its own link.
 */
async function* filesBelow(folder: string, links: readonly string[] = []): AsyncGenerator<string> {
  // Each folder by itself: one that is gone, or can't be opened by its name, hides no other.
  const entries = await readdir(folder, { withFileTypes: true }).catch(nothingWhereMissing);
  if (entries === null) yield folder;
  for (const entry of entries?.filter(({ name }) => !isIgnoredName(name)) ?? []) {
    const file = path.join(folder, entry.name);
    if (entry.isFile()) yield file;
    else if (entry.isDirectory()) yield* filesBelow(file, links);
    else if (entry.isSymbolicLink()) {
      const isFolder = (await stat(file).catch(nothingWhereMissing))?.isDirectory() === true;
      if (!isFolder) {
        yield file;
        continue;
      }
      const [target, place] = [await realpath(file), await realpath(folder)];
      if (![...links, place].some((passed) => isBelow(target, passed))) yield* filesBelow(file, [...links, place]);
    }
  }
}

/** Whether a path that leads nowhere has a name that is not UTF-8: Node puts U+FFFD into such names, and then finds no such file. */
export function isNotUtf8(name: string): boolean {
  return name.includes('\ufffd');
}

function nothingWhereMissing(error: unknown): null {
  if (isMissing(error)) return null;
  throw error;
}

/** DuckDB takes a path as a pattern, and no pattern matches one with a backslash and one of these. */
function isUnmatchable(file: string): boolean {
  return file.includes('\\') && /[[*?]/.test(file);
}
