import { once } from 'node:events';
import { createWriteStream, existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { UsageError } from '../../functions/core/errors.ts';
import { versionName } from '../../functions/core/fileVersions.ts';
import type { Rejected } from '../../functions/core/runFiles.ts';
import { figure, table } from '../../functions/core/textTable.ts';
import type { FileVersion } from '../../functions/ports.ts';
import { listed } from '../listed.ts';

/** Lines that end at a line feed and nothing else: node:readline also takes U+2028 for a line end, which a record may hold. */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
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

/** How many records the text shows; `--json` and `--export` have all. */
const SHOWN = 50;
const RECORD_WIDTH = 80;

/** A file that was read again rejects the same records again: the latest run counts, so runs come in their order. */
export async function latestRejects(rejects: AsyncIterable<Rejected>): Promise<Rejected[]> {
  const latest = new Map<string, Rejected>();
  for await (const rejected of rejects)
    latest.set([rejected.file, rejected.version, rejected.line, rejected.position].join('\0'), rejected);
  return [...latest.values()];
}

/**
 * `DIR/<landing table>/<file>`, one record a line, byte for byte as it came. Records whose text was left out (docs/records.md) are not in it.
 * @throws UsageError where such a file exists: somebody may have mended it; nothing is written then
 */
export async function exportRejects(list: readonly Rejected[], folder: string): Promise<Map<string, number>> {
  const written = new Map<string, number>();
  const byFile = Map.groupBy(list.filter(hasText), ({ file }) => file);
  const files = [...byFile].map(([key, records]) => {
    // A gzip file is exported as text, under a name that says so where no other file has it.
    const unpacked = key.replace(/\.gz$/, '');
    return { file: path.join(folder, ...(byFile.has(unpacked) ? key : unpacked).split('/')), records };
  });
  const taken = files.filter(({ file }) => existsSync(file)).map(({ file }) => file);
  if (taken.length > 0)
    throw new UsageError(listed('Nothing was written, for these exist already; export to another folder', taken));
  for (const { file, records } of files) {
    await mkdir(path.dirname(file), { recursive: true });
    const stream = createWriteStream(file);
    for (const { record, encoding } of records) {
      if (!stream.write(Buffer.concat([Buffer.from(record, encoding === 'base64' ? 'base64' : 'utf8'), Buffer.from('\n')])))
        await once(stream, 'drain');
    }
    stream.end();
    await once(stream, 'finish');
    written.set(file, records.length);
  }
  return written;
}

/** Rejected records, what an export of them came to (null without one), and which of their files are held. */
export function rejectsText(
  list: readonly Rejected[],
  written: ReadonlyMap<string, number> | null,
  held: readonly Pick<FileVersion, 'key' | 'version'>[],
): string {
  return [countsAndRecords(list), ...(written === null ? [] : [exported(list, written)]), ...heldFiles(list, held)].join('\n\n');
}

function countsAndRecords(list: readonly Rejected[]): string {
  if (list.length === 0) return 'No rejected record';
  const reasons = Map.groupBy(list, ({ landing_table, reason }) => `${landing_table}\0${reason}`);
  const counts = table(
    ['landing table', 'reason', 'records'],
    [...reasons].map(([id, records]) => [...id.split('\0'), figure(records.length)]),
    ['l', 'l', 'r'],
  );
  const rows = list
    .slice(0, SHOWN)
    .map(({ file, line, position, reason, field, record, run_id }) => [
      file,
      position === 1 ? String(line) : `${line}:${position}`,
      field === null ? reason : `${reason} (${field})`,
      shortened(record),
      run_id,
    ]);
  const more =
    list.length > SHOWN ? [`${figure(list.length - SHOWN)} more; --json shows all, --export DIR writes them to files`] : [];
  return [counts, table(['file', 'line', 'reason', 'record', 'run'], rows, ['l', 'r', 'l', 'l', 'l']), ...more].join('\n\n');
}

function shortened(record: string): string {
  const printable = record.slice(0, RECORD_WIDTH + 1).replace(/[\x00-\x1f\x7f-\x9f]/g, '·');
  return printable.length > RECORD_WIDTH ? `${printable.slice(0, RECORD_WIDTH)}…` : printable;
}

function exported(list: readonly Rejected[], written: ReadonlyMap<string, number>): string {
  if (list.length === 0) return 'Nothing was exported: there is no rejected record';
  const lists = [
    ['Exported, to be mended and dropped again', [...written].map(([file, records]) => `${file} (${figure(records)})`)],
    [
      'Not exported, for their text was not kept; they stand in landing alone',
      list.filter((one) => !hasText(one)).map(({ file, line }) => `${file}, line ${line}`),
    ],
  ] as const;
  return lists.flatMap(([title, lines]) => (lines.length === 0 ? [] : [listed(title, lines)])).join('\n');
}

/** Files of these rejects that are held, and what that means for their other records. */
function heldFiles(list: readonly Rejected[], held: readonly Pick<FileVersion, 'key' | 'version'>[]): string[] {
  const versions = new Set(held.map(versionName));
  const keys = new Set(
    list.filter(({ file, version }) => versions.has(versionName({ key: file, version }))).map(({ file }) => file),
  );
  if (keys.size === 0) return [];
  const what =
    'Held, so none of their records are loaded, the good ones included. Mend a copy of the whole file and drop it under a new name; ' +
    'or take it in as it is ("stedi retry FILE", then "stedi run --set maxRejectRatio=1") and mend what is rejected';
  return [listed(what, [...keys])];
}

function hasText({ record }: Rejected): boolean {
  return record !== '';
}
