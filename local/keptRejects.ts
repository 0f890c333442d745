import { existsSync } from 'node:fs';
import { appendFile, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { LakeUnusableError, messageOf, UsageError } from '../functions/core/errors.ts';
import { versionName } from '../functions/core/fileVersions.ts';
import { rejectedSchema } from '../functions/core/runFiles.ts';
import type { Rejected } from '../functions/core/runFiles.ts';
import { gunzipped } from './gunzipped.ts';
import { listed } from './listed.ts';
import { codeOf } from './systemErrors.ts';

/** A landing table's rejects as one run left them. */
export interface RejectsFile {
  runId: string;
  /** Its name in messages. */
  name: string;
  open: () => Promise<AsyncIterable<Uint8Array>>;
}

/**
 * The rejects that count: if several runs have judged a file version, those of the latest. Only one is held in memory at a time.
 * @param files the latest run's first
 * @throws LakeUnusableError naming a file that is cut short or damaged
 */
export async function* latestRejects(files: readonly RejectsFile[]): AsyncGenerator<Rejected> {
  const judgedBy = new Map<string, string>();
  for (const file of files) {
    const { runId } = file;
    for await (const line of linesOf(unpacked(file))) {
      const rejected = rejectedSchema.parse(JSON.parse(line));
      const version = versionName({ key: rejected.file, version: rejected.version });
      if (!judgedBy.has(version)) judgedBy.set(version, runId);
      if (judgedBy.get(version) === runId) yield rejected;
    }
  }
}

async function* unpacked({ name, open }: RejectsFile): AsyncGenerator<Uint8Array> {
  try {
    yield* gunzipped(await open());
  } catch (error) {
    if (!codeOf(error).startsWith('Z_')) throw error;
    throw new LakeUnusableError(`${name} is damaged: ${messageOf(error)}. Move it away to see the rejects of other runs`);
  }
}

const NEWLINE = Buffer.from('\n');

/** Lines that end at a line feed and nothing else: node:readline also ends lines at U+2028, which a record may hold. */
async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let rest = '';
  for await (const chunk of chunks) {
    const lines = `${rest}${decoder.decode(chunk, { stream: true })}`.split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
  rest += decoder.decode();
  if (rest !== '') yield rest;
}

/** Whether the record was kept whole (docs/records.md says which are not). */
export function hasText({ record }: Rejected): boolean {
  return record !== '';
}

/** This much is gathered before it is written, as there may be many files. A record takes more than its bytes. */
const BATCH = 32 * 1024 * 1024;
const BYTES_OF_RECORD = 200;

/**
 * Writes `DIR/<landing table>/<file>`, one record a line, byte for byte as it came; records without text are left out. Returns how many
 * records each such file has. They hold what people have sent, so they are the owner's alone.
 * @param texts how many records with text there are of each landing file
 * @throws UsageError if such a file exists: somebody may have mended it; nothing is written then
 */
export async function exportRejects(
  files: readonly RejectsFile[],
  texts: ReadonlyMap<string, number>,
  folder: string,
): Promise<Map<string, number>> {
  const targets = new Map(
    [...texts.keys()].map((key) => {
      // A gzip file is exported as text, without `.gz` unless another file has that name.
      const unpacked = key.replace(/\.gz$/, '');
      return [key, path.join(folder, ...(texts.has(unpacked) ? key : unpacked).split('/'))];
    }),
  );
  const taken = [...targets.values()].filter((file) => existsSync(file));
  if (taken.length > 0)
    throw new UsageError(listed('Nothing was written, because these files already exist; export to another folder', taken));
  const batch = new Map<string, Buffer[]>();
  let gathered = 0;
  const write = async () => {
    for (const [file, records] of batch) {
      await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
      await appendFile(file, Buffer.concat(records), { mode: 0o600 });
    }
    batch.clear();
    gathered = 0;
  };
  for await (const rejected of latestRejects(files)) {
    const target = targets.get(rejected.file);
    if (target === undefined || !hasText(rejected)) continue;
    const record = Buffer.from(rejected.record, rejected.encoding === 'base64' ? 'base64' : 'utf8');
    const records = batch.get(target) ?? [];
    batch.set(target, records);
    records.push(record, NEWLINE);
    gathered += record.length + BYTES_OF_RECORD;
    if (gathered > BATCH) await write();
  }
  await write();
  return new Map([...texts].map(([key, records]) => [targets.get(key) ?? key, records]));
}
