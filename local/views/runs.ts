import { chunked, inParallel } from '../../functions/core/parallel.ts';
import { UsageError } from '../../functions/core/errors.ts';
import { figure, table } from '../../functions/core/textTable.ts';
import { manifestSchema, readRunFile, readStepMetrics, reportSchema } from '../../functions/core/runFiles.ts';
import type { RunFiles } from '../../functions/ports.ts';
import type { Execution } from '../executions.ts';

interface RunOverview extends Execution {
  seconds: number | null;
  /** Null when it planned nothing. */
  files: number | null;
  /** Rows of machine_learning_curated after it. */
  rows: number | null;
}

/** An execution with its run's outcome. */
export async function overviewOf(runFiles: RunFiles, execution: Execution): Promise<RunOverview> {
  const { runId, startedAt, endedAt } = execution;
  const [manifest, report] = await Promise.all([
    readRunFile(runFiles, runId, 'manifest.json', manifestSchema),
    readRunFile(runFiles, runId, 'report.json', reportSchema),
  ]);
  return {
    ...execution,
    seconds: endedAt === null ? null : (Date.parse(endedAt) - Date.parse(startedAt)) / 1000,
    // A run without a manifest or a report has planned nothing.
    files: manifest?.files.length ?? (report === null ? null : 0),
    rows: report?.tables?.['machine_learning_curated'] ?? null,
  };
}

/** How many executions are looked at before it is seen whether these are enough: many find nothing to do. */
const AT_ONCE = 100;

export function foundNothing({ status, files }: RunOverview): boolean {
  return status === 'SUCCEEDED' && files === null;
}

/** The latest executions that had something to do, up to `limit`, as runs; as a value and as text. */
export async function latestRuns(runFiles: RunFiles, history: readonly Execution[], limit: number) {
  const found: RunOverview[] = [];
  for (const some of chunked(history, AT_ONCE)) {
    const runs = await inParallel(some, (execution) => overviewOf(runFiles, execution));
    found.push(...runs.filter((run) => !foundNothing(run)));
    if (found.length > limit) break;
  }
  const value = found.slice(0, limit);
  const more = found.length > limit ? `\n\nThe latest ${figure(limit)}; --limit shows more` : '';
  const text = `${runsText(value)}${more}`;
  return { value, text };
}

function runsText(shown: readonly RunOverview[]): string {
  if (shown.length === 0) return 'No run yet; "stedi run" starts one';
  return table(
    ['run', 'started', 'status', 'files', 'machine learning rows', 'seconds'],
    shown.map(({ runId, startedAt, status, files, rows, seconds }) => [
      runId,
      startedAt.replace('T', ' ').slice(0, 19),
      status,
      figure(files ?? 0),
      rows === null ? '' : figure(rows),
      seconds === null ? '' : seconds.toFixed(2),
    ]),
    ['l', 'l', 'l', 'r', 'r', 'r'],
  );
}

/** The run that is meant by `last`, its name, or how its name begins. @throws UsageError when that is none, or several */
export function chosenRun(runIds: readonly string[], wanted: string): string {
  return chosenExecution(
    runIds.map((runId) => ({ runId })),
    wanted,
  ).runId;
}

/** The same for executions, newest first. */
export function chosenExecution<T extends { runId: string }>(history: readonly T[], wanted: string): T {
  const matches = wanted === 'last' ? history.slice(0, 1) : history.filter(({ runId }) => runId.startsWith(wanted));
  const [execution, ...more] = matches;
  if (execution === undefined || more.length > 0) {
    throw new UsageError(
      `${wanted} matches ${more.length > 0 ? `${matches.length} runs` : 'no run'}; "stedi runs" lists them, "stedi show last" shows the latest`,
    );
  }
  return execution;
}

/** Everything that a run left, as a value and as text. */
export async function runDetails(runFiles: RunFiles, run: RunOverview) {
  const { runId } = run;
  const manifest = await readRunFile(runFiles, runId, 'manifest.json', manifestSchema);
  const report = await readRunFile(runFiles, runId, 'report.json', reportSchema);
  const steps = await readStepMetrics(runFiles, runId);
  const text =
    (await runFiles.read(runId, 'report.md')) ??
    `# ${run.status}: ${runId}, without a report${run.error === null ? '' : `\n\n${run.error}`}\n`;
  const files = manifest?.files ?? [];
  const sections = [text.trimEnd()];
  if (report !== null && report.expectations.length > 0) {
    sections.push(
      `## Expectations\n\n${table(
        ['expectation', 'met', 'expected', 'found'],
        report.expectations.map(({ name, ok, expected, found }) => [name, ok ? 'yes' : 'NO', String(expected), String(found)]),
        ['l', 'l', 'r', 'r'],
      )}`,
    );
  }
  if (files.length > 0) {
    sections.push(
      `## Files\n\n${table(
        ['file', 'bytes'],
        files.map(({ key, size }) => [key, figure(size)]),
      )}`,
    );
  }
  return { value: { ...run, manifest, report, steps }, text: sections.join('\n\n') };
}
