import { existsSync } from 'node:fs';
import { landingTotals } from '../../functions/core/expectations.ts';
import { readRunFile, reportSchema } from '../../functions/core/runFiles.ts';
import type { Report } from '../../functions/core/runFiles.ts';
import type { Settings } from '../../functions/core/settings.ts';
import { countLake, createViews } from '../duckdb/counts.ts';
import { dropFiles, findDrops } from '../dropFiles.ts';
import type { Drop } from '../dropFiles.ts';
import type { LocalHome } from '../home.ts';
import { lakePaths } from '../lakePaths.ts';
import { loadSettings, makeLakeFolder, requireLake, withLake } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import { noticingUnread, progress } from '../output.ts';
import { STABLE_MS, untilQuiet } from '../untilQuiet.ts';
import { droppedText } from '../views/drops.ts';
import { exitCodeOf, expectationsOf, isEmpty, noTotals, reportedBy, resultText, totalsOf, troubles } from '../views/runResult.ts';
import type { RunResult, Totals } from '../views/runResult.ts';

/** Puts the files of the sources into landing, and runs until nothing is pending. Exit code 1 when a run failed or anything was held. */
export async function run(
  { options, output }: CommandContext,
  sources: readonly string[],
  own: ReadonlySet<string> = new Set(),
): Promise<number> {
  if (sources.length === 0 && !existsSync(options.lake)) requireLake(options.lake);
  const drops = await findDrops(sources, options.lake, (text) => output.say(text));
  const { result, report } = await runLake({ options, output }, drops, own);
  output.result(result, () => summary(result, report, options.lake));
  return exitCodeOf(result);
}

/** Drops files and runs. `own`: landing keys that this process wrote and nothing is still writing. */
async function runLake({ options, output }: CommandContext, drops: readonly Drop[], own: ReadonlySet<string>) {
  const started = performance.now();
  const settings = loadSettings(options);
  makeLakeFolder(options.lake);
  const dropped = await dropFiles(lakePaths(options.lake).landing, drops);
  if (drops.length > 0) output.say(droppedText(dropped));
  const { log, unread } = noticingUnread(progress(output));
  return withLake(options, { log, stableMs: STABLE_MS }, 'run', async (home) => {
    await home.requireTables();
    for (const key of [...own, ...dropped.map((file) => file.key)]) home.landing.own.add(key);
    await untilQuiet(home, (text) => output.say(text));
    const heldBefore = await home.ledger.held();
    await home.announceLanding();
    await home.reconcile();
    await home.executions.drain();
    const { last, reported } = await reportedBy(home.ended, home, heldBefore);
    const totals = totalsOf(last) ?? (await publishedTotals(home, settings));
    const result: RunResult = {
      status: home.ended.at(-1)?.status === 'FAILED' ? 'FAILED' : (last?.status ?? 'NOTHING_TO_DO'),
      ...reported,
      ...totals,
      unread: [...unread].map(([file, why]) => ({ file, why })),
      expectations: last?.expectations ?? expectationsOf(totals, settings.expectedCounts),
      seconds: Math.round(performance.now() - started) / 1000,
    };
    return { result, report: last };
  });
}

/** What the lake shows: from the report of the run that published it, or counted again if that is lost. */
async function publishedTotals(home: LocalHome, settings: Settings): Promise<Totals> {
  const published = await home.ledger.published();
  const report = published === null ? null : await readRunFile(home.runFiles, published.runId, 'report.json', reportSchema);
  const totals = totalsOf(report);
  if (totals !== null) return totals;
  const shown = await home.ports.lake.publishedRun();
  if (shown === null) return noTotals(settings.mlJoin);
  const { connection } = await home.session();
  const policies = await home.policiesOf(shown.runId);
  await createViews(connection, policies);
  const { counts, loads, ...others } = await countLake(connection);
  return { tables: { ...landingTotals(loads), ...counts }, mlJoin: policies.mlJoin, ...others };
}

function summary(result: RunResult, report: Report | null, lake: string): string {
  const { folder, tables, runs, landing } = lakePaths(lake);
  if (isEmpty(result)) {
    const nothing = `Nothing to do: no file in ${landing} is pending, and nothing was published yet. "stedi run SOURCE" puts files there, "stedi files" shows what waits, "stedi start" makes sample data.`;
    return [nothing, ...troubles(result)].join('\n\n');
  }
  const last = result.runs.at(-1);
  return resultText(result, report, [
    `Tables  ${tables}`,
    ...(last === undefined ? [] : [`Report  ${runs}/${last}/report.md`]),
    `Lake    ${folder}`,
  ]);
}
