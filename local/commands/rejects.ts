import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import path from 'node:path';
import { once } from 'node:events';
import { z } from 'zod';
import { UsageError } from '../../functions/core/errors.ts';
import { figure, table } from '../../functions/core/renderReport.ts';
import { LANDING_TABLES } from '../../functions/core/steps.ts';
import { lakePaths } from '../home.ts';
import { requireLake } from '../lake.ts';
import type { CommandContext } from '../lake.ts';

const rejectedSchema = z.object({
  landing_table: z.enum(LANDING_TABLES),
  file: z.string(),
  version: z.string(),
  line: z.number(),
  position: z.number(),
  reason: z.string(),
  field: z.string().nullable(),
  encoding: z.enum(['utf-8', 'base64']),
  record: z.string(),
  run_id: z.string(),
});
type Rejected = z.infer<typeof rejectedSchema>;

/** How many records the text shows; `--json` and `--export` have all. */
const SHOWN = 50;
const RECORD_WIDTH = 80;

/** Rejected records with file, line and reason, those of failed runs too; `--export` writes them back out. */
export async function rejects(
  { options, output }: CommandContext,
  runId: string | undefined,
  exportTo: string | undefined,
): Promise<number> {
  requireLake(options.lake);
  const latest = new Map<string, Rejected>(); // a file that was read again rejects the same records again: the latest run counts
  for await (const rejected of readRejects(lakePaths(options.lake).runs, runId)) {
    latest.set([rejected.file, rejected.version, rejected.line, rejected.position].join('\0'), rejected);
  }
  const list = [...latest.values()];
  const exported = exportTo === undefined ? null : await exportRejects(list, exportTo);
  output.result(list, () => [listText(list), ...(exported === null ? [] : [exportText(exported)])].join('\n\n'));
  return 0;
}

async function* readRejects(runsFolder: string, runId: string | undefined): AsyncGenerator<Rejected> {
  const runs = (await readdir(runsFolder)).sort();
  if (runId !== undefined && !runs.includes(runId)) throw new UsageError(`${runId} names no run; "stedi runs" lists them`);
  for (const run of runs.filter((name) => runId === undefined || name === runId)) {
    const folder = path.join(runsFolder, run, 'rejects');
    for (const name of (await readdir(folder).catch(() => [])).filter((each) => each.endsWith('.ndjson')).sort()) {
      for await (const line of linesOf(path.join(folder, name))) yield rejectedSchema.parse(JSON.parse(line));
    }
  }
}

/** Lines that end at a line feed and nothing else: node:readline also takes U+2028 for a line end, which a record may hold. */
async function* linesOf(file: string): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of createReadStream(file, 'utf8')) {
    const lines = `${rest}${String(chunk)}`.split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
  if (rest !== '') yield rest;
}

/** `DIR/<landing table>/<file>`, one record a line, byte for byte as it came. */
async function exportRejects(list: readonly Rejected[], folder: string): Promise<Map<string, number>> {
  const written = new Map<string, number>();
  const byFile = Map.groupBy(list, ({ file }) => file);
  for (const [key, records] of byFile) {
    // A gzip file is exported as text, under a name that says so where no other file has it.
    const unpacked = key.replace(/\.gz$/, '');
    const file = path.join(folder, ...(byFile.has(unpacked) ? key : unpacked).split('/'));
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

function listText(list: readonly Rejected[]): string {
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

function exportText(written: ReadonlyMap<string, number>): string {
  return `Exported, to be mended and dropped again:\n${[...written].map(([file, records]) => `  ${file} (${figure(records)})`).join('\n')}`;
}
