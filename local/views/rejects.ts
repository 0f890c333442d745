import type { Rejected } from '../../functions/core/runFiles.ts';
import { versionName } from '../../functions/core/fileVersions.ts';
import { figure, table } from '../../functions/core/textTable.ts';
import type { FileVersion } from '../../functions/ports.ts';
import { exportRejects, hasText, latestRejects } from '../keptRejects.ts';
import type { RejectsFile } from '../keptRejects.ts';
import { listed } from '../listed.ts';
import type { Output } from '../output.ts';

/** How many records the text shows; `--json` and `--export` have all. */
const SHOWN = 50;
const RECORD_WIDTH = 80;

/** What the text says of any number of rejected records. */
interface Summary {
  total: number;
  /** Records by landing table and reason. */
  reasons: Map<string, number>;
  /** The first ones. */
  shown: Rejected[];
  /** File versions that have rejects, with their keys. */
  versions: Map<string, string>;
  /** How many records with text there are of each landing file. */
  texts: Map<string, number>;
  /** Where records without text stood. */
  withoutText: string[];
}

/** Shows rejected records, and exports them if `exportTo` names a folder. `files`: those of the latest run first. */
export async function showRejects(
  files: readonly RejectsFile[],
  held: readonly Pick<FileVersion, 'key' | 'version'>[],
  exportTo: string | undefined,
  output: Output,
): Promise<void> {
  // With --json alone nobody asks for it.
  let asked: Promise<Summary> | undefined;
  const summarized = () => (asked ??= summaryOf(latestRejects(files)));
  const exported = exportTo === undefined ? null : await exportRejects(files, (await summarized()).texts, exportTo);
  await output.results(latestRejects(files), async () => {
    const summary = await summarized();
    const parts = [
      countsAndRecords(summary),
      ...(exported === null ? [] : [exportText(summary, exported)]),
      ...heldFiles(summary, held),
    ];
    return parts.join('\n\n');
  });
}

async function summaryOf(rejects: AsyncIterable<Rejected>): Promise<Summary> {
  const summary: Summary = { total: 0, reasons: new Map(), shown: [], versions: new Map(), texts: new Map(), withoutText: [] };
  const count = (counts: Map<string, number>, name: string) => counts.set(name, (counts.get(name) ?? 0) + 1);
  for await (const rejected of rejects) {
    const { landing_table, reason, file, version, line } = rejected;
    summary.total += 1;
    count(summary.reasons, `${landing_table}\0${reason}`);
    if (summary.shown.length < SHOWN) summary.shown.push(rejected);
    summary.versions.set(versionName({ key: file, version }), file);
    if (hasText(rejected)) count(summary.texts, file);
    else summary.withoutText.push(`${file}, line ${line}`);
  }
  return summary;
}

function countsAndRecords({ total, reasons, shown }: Summary): string {
  if (total === 0) return 'No rejected record';
  const counts = table(
    ['landing table', 'reason', 'records'],
    [...reasons].map(([id, records]) => [...id.split('\0'), figure(records)]),
    ['l', 'l', 'r'],
  );
  const rows = shown.map(({ file, line, position, reason, field, record, run_id }) => [
    file,
    position === 1 ? String(line) : `${line}:${position}`,
    field === null ? reason : `${reason} (${field})`,
    shortened(record),
    run_id,
  ]);
  const more = total > SHOWN ? [`${figure(total - SHOWN)} more; --json shows all, --export DIR writes them to files`] : [];
  return [counts, table(['file', 'line', 'reason', 'record', 'run'], rows, ['l', 'r', 'l', 'l', 'l']), ...more].join('\n\n');
}

function shortened(record: string): string {
  const printable = record.slice(0, RECORD_WIDTH + 1).replace(/[\x00-\x1f\x7f-\x9f]/g, '·');
  return printable.length > RECORD_WIDTH ? `${printable.slice(0, RECORD_WIDTH)}…` : printable;
}

function exportText({ total, withoutText }: Summary, exported: ReadonlyMap<string, number>): string {
  if (total === 0) return 'Nothing was exported: there is no rejected record';
  const lists = [
    ['Exported, to be fixed and dropped again', [...exported].map(([file, records]) => `${file} (${figure(records)})`)],
    ['Not exported, because their text was not kept; it is only in landing', withoutText],
  ] as const;
  return lists.flatMap(([title, lines]) => (lines.length === 0 ? [] : [listed(title, lines)])).join('\n');
}

/** Files with rejects that are held, and what that means for their other records. */
function heldFiles({ versions }: Summary, held: readonly Pick<FileVersion, 'key' | 'version'>[]): string[] {
  const names = new Set(held.map(versionName));
  const keys = new Set([...versions].filter(([name]) => names.has(name)).map(([, key]) => key));
  if (keys.size === 0) return [];
  const what =
    'Held, so none of their records are loaded, not even the good ones. Fix a copy of the whole file and drop it under a new name; ' +
    'or load it as it is ("stedi retry FILE", then "stedi run --set maxRejectRatio=1") and fix what is rejected';
  return [listed(what, [...keys])];
}
