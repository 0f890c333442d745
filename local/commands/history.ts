import { UsageError } from '../../functions/core/errors.ts';
import { figure, table } from '../../functions/core/renderReport.ts';
import { manifestSchema, readRunFile, readStepMetrics, reportSchema } from '../../functions/core/runFiles.ts';
import type { LocalHome } from '../home.ts';
import { withLedger } from '../lake.ts';
import type { CommandContext } from '../lake.ts';

/** All runs, the latest first. */
export async function runs({ options, output }: CommandContext): Promise<number> {
  const list = await withLedger(options, async (home) =>
    Promise.all(home.executions.history().map(({ runId }) => overview(home, runId))),
  );
  const shown = list.filter((run) => run.files !== null);
  output.result(shown, () =>
    shown.length === 0
      ? 'No run yet; "stedi run" starts one'
      : table(
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
        ),
  );
  return 0;
}

async function overview(home: LocalHome, runId: string) {
  const [manifest, report] = await Promise.all([
    readRunFile(home.runFiles, runId, 'manifest.json', manifestSchema),
    readRunFile(home.runFiles, runId, 'report.json', reportSchema),
  ]);
  const execution = home.executions.history().find((candidate) => candidate.runId === runId);
  const { status = 'ABORTED', startedAt = '', endedAt = null, error = null } = execution ?? {};
  return {
    runId,
    status,
    startedAt,
    endedAt,
    seconds: endedAt === null ? null : (Date.parse(endedAt) - Date.parse(startedAt)) / 1000,
    // A run without a manifest or a report found nothing to do.
    files: manifest?.files.length ?? (report === null ? null : 0),
    rows: report?.tables?.['machine_learning_curated'] ?? null,
    error,
  };
}

/** One run: its files, steps, counts, expectations and timings. `last` is the latest. */
export async function show({ options, output }: CommandContext, wanted: string): Promise<number> {
  return withLedger(options, async (home) => {
    const ids = home.executions.history().map(({ runId }) => runId);
    const matches = wanted === 'last' ? ids.slice(0, 1) : ids.filter((runId) => runId === wanted || runId.startsWith(wanted));
    const [runId, ...more] = matches;
    if (runId === undefined || more.length > 0) {
      throw new UsageError(
        `${wanted} names ${more.length > 0 ? `${matches.length} runs` : 'no run'}; "stedi runs" lists them, "stedi show last" shows the latest`,
      );
    }
    const run = await overview(home, runId);
    const manifest = await readRunFile(home.runFiles, runId, 'manifest.json', manifestSchema);
    const report = await readRunFile(home.runFiles, runId, 'report.json', reportSchema);
    const steps = await readStepMetrics(home.runFiles, runId);
    const text =
      (await home.runFiles.read(runId, 'report.md')) ??
      `${runId} ${run.status}: it left no report${run.error === null ? '' : `\n${run.error}`}\n`;
    const files = manifest?.files ?? [];
    output.result({ ...run, manifest, report, steps }, () =>
      [
        text.trimEnd(),
        ...(report === null
          ? []
          : [
              `## Expectations\n\n${table(
                ['expectation', 'met', 'expected', 'found'],
                report.expectations.map(({ name, ok, expected, found }) => [
                  name,
                  ok ? 'yes' : 'NO',
                  String(expected),
                  String(found),
                ]),
                ['l', 'l', 'r', 'r'],
              )}`,
            ]),
        ...(files.length === 0
          ? []
          : [
              `## Files\n\n${table(
                ['file', 'bytes'],
                files.map(({ key, size }) => [key, figure(size)]),
              )}`,
            ]),
        `Everything it left: ${home.runFiles.folderOf(runId)}`,
      ].join('\n\n'),
    );
    return 0;
  });
}
