import { isUtf8 } from 'node:buffer';
import { closeSync, openSync, readSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import type { LandingContract } from '../../functions/core/contracts.ts';
import { NotedFields } from '../../functions/core/notedFields.ts';
import type { Rejected } from '../../functions/core/runFiles.ts';
import { judge } from './judge.ts';
import type { Rejection } from './judge.ts';
import { LazyFile } from './lazyFile.ts';
import { shapeOf } from './shape.ts';
import type { Shape, Spelling } from './shape.ts';
import { isGzip, unpack } from './unpack.ts';
import { valuesOf } from './values.ts';

export interface ScanTask {
  /** The landing file. */
  path: string;
  /** Prefix for the files of JSON lines that a scan may leave: `<scratch>.clean` and `<scratch>.final`, to load, and `<scratch>.rejects`, gzipped. */
  scratch: string;
  contract: LandingContract;
  /** Columns of `rejected` that say where a record comes from. */
  origin: Pick<Rejected, 'landing_table' | 'file' | 'version' | 'run_id'>;
}

/** What one pass over a landing file found. `landed` counts records before any was judged. */
export interface Scanned {
  landed: number;
  rejected: number;
  reasons: Record<string, number>;
  unknownFields: string[];
  /** JSON lines for which DuckDB's typed reader is exact: clean lines as they landed, and what was taken apart, written anew. */
  loads: { path: string; spelling: Spelling; values: 'as landed' | 'final'; longestLine: number }[];
  /** Gzipped JSON lines of rejected records; null when there are none. */
  rejects: { path: string; longestLine: number } | null;
}

const CHUNK = 4 * 1024 * 1024;
const LONGEST_LINE = 256 * 1024 * 1024;
/** A rejected record written as more bytes is counted without its text: as JSON, a byte may become six. */
const LONGEST_REJECT = 16 * 1024 * 1024;
const SHAPES = 4;
const NEWLINE = 0x0a;

/**
 * Reads one landing file by docs/records.md. A file with only clean lines is loaded where it stands; of any other, the clean lines are
 * copied as they are, and only the rest is taken apart.
 */
export async function scan(task: ScanTask): Promise<Scanned> {
  if (!isGzip(task.path)) return new Scan(task, task.path).run();
  const unpacked = `${task.scratch}.unpacked`;
  return (await unpack(task.path, unpacked))
    ? new Scan(task, unpacked).run()
    : new Scan(task, unpacked).rejectWhole('broken_gzip');
}

class Scan {
  readonly #task: ScanTask;
  readonly #source: string;
  readonly #shapes: Shape[] = [];
  readonly #reasons = new Map<string, number>();
  readonly #unknownFields = new NotedFields();
  #spelling: Spelling | null = null;
  #input = -1;
  #landed = 0;
  #rejected = 0;
  #line = 0;
  /** Offset of the first byte that belongs to a record: 3 after a byte order mark. */
  #start = 0;
  #longest = 0;
  #longestReject = 0;
  /** A copy of the clean lines, once the file has others. */
  readonly #clean: LazyFile;
  /** Records of the other lines, with the values that their columns get. */
  readonly #final: LazyFile;
  readonly #rejects: LazyFile;

  constructor(task: ScanTask, source: string) {
    this.#task = task;
    this.#source = source;
    this.#clean = new LazyFile(`${task.scratch}.clean`);
    this.#final = new LazyFile(`${task.scratch}.final`);
    // A rejected record is mostly its place: uncompressed, broken values would grow fortyfold.
    this.#rejects = new LazyFile(`${task.scratch}.rejects`, (piece) => gzipSync(piece, { level: 1 }));
  }

  run(): Scanned {
    this.#input = openSync(this.#source, 'r');
    try {
      this.#readChunks();
    } finally {
      closeSync(this.#input);
      this.#clean.close();
      this.#final.close();
      this.#rejects.close();
    }
    return this.#result();
  }

  rejectWhole(reason: string): Scanned {
    this.#landed = 1;
    this.#line = 1;
    this.#reject(1, { reason, field: null }, '');
    this.#rejects.close();
    return this.#result();
  }

  #result(): Scanned {
    const longestLine = this.#longest;
    const final = this.#final.isOpened
      ? [{ path: this.#final.path, spelling: contractSpelling(this.#task.contract), values: 'final' as const, longestLine }]
      : [];
    const path = this.#clean.isOpened ? this.#clean.path : this.#source;
    const clean = this.#spelling === null ? [] : [{ path, spelling: this.#spelling, values: 'as landed' as const, longestLine }];
    return {
      landed: this.#landed,
      rejected: this.#rejected,
      reasons: Object.fromEntries([...this.#reasons].sort()),
      unknownFields: this.#unknownFields.list(),
      loads: [...clean, ...final],
      rejects: this.#rejects.isOpened ? { path: this.#rejects.path, longestLine: this.#longestReject } : null,
    };
  }

  #readChunks(): void {
    let buffer = Buffer.allocUnsafe(CHUNK);
    let kept = 0; // bytes of an unfinished line at the start of the buffer
    let offset = 0; // of the buffer's first byte in the file
    for (;;) {
      const read = readSync(this.#input, buffer, kept, buffer.length - kept, offset + kept);
      let end = kept + read;
      if (offset === 0 && buffer.subarray(0, Math.min(end, 3)).equals(Buffer.from([0xef, 0xbb, 0xbf]))) {
        this.#start = 3;
        this.#openClean(3);
        buffer.copy(buffer, 0, 3, end);
        end -= 3;
        offset = 3;
      }
      if (read === 0) {
        if (end > 0) this.#readLines(Buffer.concat([buffer.subarray(0, end), Buffer.of(NEWLINE)]), offset);
        return;
      }
      const lines = buffer.subarray(0, end).lastIndexOf(NEWLINE) + 1;
      if (lines > 0) this.#readLines(buffer.subarray(0, lines), offset);
      buffer.copy(buffer, 0, lines, end);
      kept = end - lines;
      offset += lines;
      if (kept < buffer.length) continue;
      if (buffer.length <= LONGEST_LINE) {
        // Room for the longest line and its line feed.
        const larger = Buffer.allocUnsafe(Math.min(buffer.length * 2, LONGEST_LINE + 1));
        buffer.copy(larger, 0, 0, kept);
        buffer = larger;
      } else {
        offset = this.#skipLine(buffer, offset, kept);
        kept = 0;
      }
    }
  }

  /** Reads whole lines. `offset` is where they are in the file. */
  #readLines(bytes: Buffer, offset: number): void {
    const text = bytes.toString('latin1');
    const allUtf8 = isUtf8(bytes);
    let copied = 0; // the copy of the clean lines is complete up to here
    let at = 0;
    while (at < text.length) {
      const next = this.#cleanLineEnd(text, at);
      if (next !== -1 && (allUtf8 || isUtf8(bytes.subarray(at, next)))) {
        this.#landed += 1;
        this.#line += 1;
        if (next - at > this.#longest) this.#longest = next - at;
        at = next;
        continue;
      }
      const end = text.indexOf('\n', at);
      const line = bytes.subarray(at, end);
      const decoded = allUtf8 || isUtf8(line) ? line.toString('utf8') : null;
      if (decoded !== null && this.#learnShape(decoded, text, at)) continue; // now the line is clean
      if (line.length > 0) {
        this.#openClean(offset + copied);
        this.#clean.write(bytes.subarray(copied, at));
        copied = end + 1;
      }
      this.#line += 1;
      if (decoded === null) this.#rejectBytes(line);
      else this.#readValues(decoded);
      at = end + 1;
    }
    if (this.#clean.isOpened) this.#clean.write(bytes.subarray(copied));
  }

  #cleanLineEnd(text: string, at: number): number {
    for (const { line } of this.#shapes) {
      line.lastIndex = at;
      if (line.test(text)) return line.lastIndex;
    }
    return -1;
  }

  /** Learns a shape from a line with one record, if the line matches it and its spelling is the file's. */
  #learnShape(line: string, text: string, at: number): boolean {
    if (this.#shapes.length >= SHAPES) return false;
    const [value, ...more] = valuesOf(line);
    if (value?.kind !== 'object' || more.length > 0) return false;
    const shape = shapeOf(value.text, this.#task.contract);
    if (shape === null) return false;
    shape.line.lastIndex = at;
    if (!shape.line.test(text)) return false;
    if (this.#spelling !== null && !sameSpelling(this.#spelling, shape.spelling)) return false;
    this.#spelling = shape.spelling;
    this.#shapes.push(shape);
    this.#unknownFields.add(shape.unknownFields);
    return true;
  }

  #readValues(line: string): void {
    let position = 0;
    for (const { kind, text } of valuesOf(line)) {
      position += 1;
      this.#landed += 1;
      if (kind !== 'object') {
        this.#reject(position, { reason: kind === 'other' ? 'not_an_object' : 'broken_json', field: null }, text);
        continue;
      }
      const judged = judge(text, this.#task.contract);
      if ('reason' in judged) {
        this.#reject(position, judged, text);
        continue;
      }
      this.#unknownFields.add(judged.unknownFields);
      this.#keep(judged.values);
    }
  }

  #keep(values: readonly string[]): void {
    const members = this.#task.contract.columns.map(({ name }, at) => `"${name}":${values[at] ?? 'null'}`);
    const line = Buffer.from(`{${members.join(',')}}\n`);
    if (line.length > this.#longest) this.#longest = line.length;
    this.#final.write(line);
  }

  #rejectBytes(line: Buffer): void {
    this.#landed += 1;
    this.#reject(1, { reason: 'not_utf8', field: null }, line.toString('base64'), 'base64');
  }

  #reject(position: number, rejection: Rejection, record: string, encoding: Rejected['encoding'] = 'utf-8'): void {
    this.#rejected += 1;
    this.#reasons.set(rejection.reason, (this.#reasons.get(rejection.reason) ?? 0) + 1);
    const { run_id, ...place } = this.#task.origin;
    const kept = Buffer.byteLength(record) > LONGEST_REJECT ? '' : record;
    const rejected: Rejected = { ...place, line: this.#line, position, ...rejection, encoding, record: kept, run_id };
    const line = Buffer.from(`${JSON.stringify(rejected)}\n`);
    if (line.length > this.#longestReject) this.#longestReject = line.length;
    this.#rejects.write(line);
  }

  /** Starts the copy of the clean lines with all before `offset`: so far every line was clean. */
  #openClean(offset: number): void {
    if (this.#clean.isOpened) return;
    this.#clean.write(Buffer.alloc(0));
    const buffer = Buffer.allocUnsafe(CHUNK);
    for (let at = this.#start; at < offset;) {
      const read = readSync(this.#input, buffer, 0, Math.min(CHUNK, offset - at), at);
      if (read === 0) throw new Error(`${this.#source} became shorter while it was read`);
      this.#clean.write(buffer.subarray(0, read));
      at += read;
    }
  }

  /** A line too long for a string is one rejected record; returns the offset after it. */
  #skipLine(buffer: Buffer, offset: number, kept: number): number {
    this.#openClean(offset);
    this.#line += 1;
    this.#landed += 1;
    this.#reject(1, { reason: 'line_too_long', field: null }, '');
    for (let at = offset + kept; ;) {
      const read = readSync(this.#input, buffer, 0, buffer.length, at);
      const newline = buffer.subarray(0, read).indexOf(NEWLINE);
      if (newline !== -1) return at + newline + 1;
      if (read === 0) return at;
      at += read;
    }
  }
}

function contractSpelling(contract: LandingContract): Spelling {
  return Object.fromEntries(contract.columns.map(({ name }) => [name, name]));
}

function sameSpelling(one: Spelling, other: Spelling): boolean {
  return Object.entries(one).every(([name, field]) => other[name] === field);
}
