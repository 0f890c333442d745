import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { isIgnoredName } from '../../functions/core/catalogFile.ts';
import { UsageError } from '../../functions/core/errors.ts';
import { LANDING_TABLES } from '../../functions/core/steps.ts';
import type { LandingTable } from '../../functions/core/steps.ts';
import type { Lines } from './records.ts';

/** A watcher ignores names that end like this, so nobody reads a file that is still being written. */
const UNFINISHED = '.part';

/** Lines become bytes in pieces of about this many characters: large enough to be fast, small enough for the young heap. */
const PIECE = 1 << 18;

/** Makes the folders of the landing tables. @throws UsageError when one of them holds a file */
export async function prepareLanding(out: string): Promise<void> {
  for (const table of LANDING_TABLES) {
    const folder = join(out, table);
    await mkdir(folder, { recursive: true });
    // Hidden files (.gitkeep, .DS_Store) are no landing files, nor is what a killed call has left.
    const [first, ...others] = (await readdir(folder)).filter((name) => !isIgnoredName(name));
    if (first === undefined) continue;
    const more = others.length === 0 ? '' : ` and ${others.length} more`;
    throw new UsageError(
      `expected an empty landing folder, found ${first}${more} in ${folder}: nothing was written, since generating never overwrites; name another folder or move these files away`,
    );
  }
}

/** What was written, for all tables. It gets its real names all at once, so that nobody takes a part for the whole, even after a kill. */
export class Written {
  bytes = 0;
  readonly #paths: string[] = [];

  addFile(path: string): void {
    this.#paths.push(path);
  }

  /** Gives all files their names. @returns how many there are */
  async reveal(): Promise<number> {
    for (const path of this.#paths) await rename(path + UNFINISHED, path);
    return this.#paths.length;
  }

  /** Leaves nothing behind when something went wrong. */
  async abandon(): Promise<void> {
    for (const path of this.#paths) await rm(path + UNFINISHED, { force: true });
  }
}

/** A file under its temporary name. */
class LandingFile {
  readonly #handle: FileHandle;
  readonly #written: Written;

  private constructor(handle: FileHandle, written: Written) {
    this.#handle = handle;
    this.#written = written;
  }

  static async create(path: string, written: Written): Promise<LandingFile> {
    written.addFile(path);
    return new LandingFile(await open(path + UNFINISHED, 'w'), written);
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let from = 0; from < bytes.length;) {
      const { bytesWritten } = await this.#handle.write(bytes, from);
      from += bytesWritten;
    }
    this.#written.bytes += bytes.length;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/**
 * The files of a landing table, `<folder>/<stem>-0001.json` and so on. Lines are taken without waiting; `drain` hands them to the
 * disk and must be awaited often enough for memory to stay flat.
 */
export class LandingFiles implements Lines {
  lines = 0;
  readonly #folder: string;
  readonly #stem: string;
  readonly #linesPerFile: number;
  readonly #written: Written;
  #text = '';
  #pieces: { bytes: Uint8Array; endsFile: boolean }[] = [];
  #filesStarted = 0;
  #file: LandingFile | undefined;

  constructor(out: string, table: LandingTable, linesPerFile: number, written: Written) {
    this.#folder = join(out, table);
    this.#stem = stemOf(table);
    this.#linesPerFile = linesPerFile;
    this.#written = written;
  }

  line(text: string): void {
    this.#text += text;
    this.lines += 1;
    const endsFile = this.lines % this.#linesPerFile === 0;
    if (endsFile || this.#text.length >= PIECE) this.#cut(endsFile);
  }

  async drain(): Promise<void> {
    const pieces = this.#pieces;
    this.#pieces = [];
    for (const { bytes, endsFile } of pieces) {
      this.#file ??= await this.#nextFile();
      await this.#file.write(bytes);
      if (endsFile) await this.close();
    }
  }

  /** Writes what is left and ends the last file. */
  async finish(): Promise<void> {
    if (this.#text !== '') this.#cut(true);
    await this.drain();
    await this.close();
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  #cut(endsFile: boolean): void {
    // One byte for each character: names, numbers and JSON's own signs are all ASCII.
    this.#pieces.push({ bytes: Buffer.from(this.#text, 'latin1'), endsFile });
    this.#text = '';
  }

  async #nextFile(): Promise<LandingFile> {
    this.#filesStarted += 1;
    return LandingFile.create(
      join(this.#folder, `${this.#stem}-${String(this.#filesStarted).padStart(4, '0')}.json`),
      this.#written,
    );
  }
}

/** `customer_landing` has files `customer-….json`. */
export function stemOf(table: LandingTable): string {
  return table.slice(0, -'_landing'.length);
}

/** Writes one whole file. */
export async function writeLandingFile(
  out: string,
  table: LandingTable,
  name: string,
  bytes: Uint8Array,
  written: Written,
): Promise<void> {
  const file = await LandingFile.create(join(out, table, name), written);
  try {
    await file.write(bytes);
  } finally {
    await file.close();
  }
}
