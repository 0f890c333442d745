import { expectedCounts } from '../../functions/core/expectations.ts';
import { identitySentence, rowCountTable } from '../../functions/core/renderReport.ts';
import { readRunFile, reportSchema } from '../../functions/core/runFiles.ts';
import type { Expectation, Report } from '../../functions/core/runFiles.ts';
import type { Settings } from '../../functions/core/settings.ts';
import { LANDING_TABLES, PUBLISHED_TABLES } from '../../functions/core/steps.ts';
import { dropFiles, findDrops } from '../dropFiles.ts';
import type { Drop } from '../dropFiles.ts';
import type { LocalHome } from '../home.ts';
import { lakePaths } from '../home.ts';
import { loadSettings, withLake } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import { progress } from '../output.ts';

/** What `run --json` prints. */
export interface RunResult {
  status: 'SUCCEEDED' | 'FAILED' | 'NOTHING_TO_DO';
  runs: string[];
  tables: Record<string, number>;
  identity: { sameTime: number; samePerson: number; otherPerson: number };
  withheld: { accelerometer: Record<string, number>; step_trainer: Record<string, number> };
  held: { file: string; why: string }[];
  expectations: Expectation[];
  seconds: number;
}

/** Puts the files of the sources into landing, and runs until nothing is pending. Exit code 1 when a run failed or anything was held. */
export async function run({ options, output }: CommandContext, sources: readonly string[]): Promise<number> {
  const drops = await findDrops(sources);
  const { result, report, settings } = await runLake({ options, output }, drops);
  output.result(result, () => summary(result, report, settings, options.lake));
  return result.status === 'FAILED' || result.held.length > 0 || result.expectations.some(({ ok }) => !ok) ? 1 : 0;
}

/** Drops files and runs; for `run` and `start`. */
export async function runLake({ options, output }: CommandContext, drops: readonly Drop[]) {
  const started = performance.now();
  const settings = loadSettings(options);
  const dropped = await dropFiles(lakePaths(options.lake).landing, drops);
  if (drops.length > 0) output.say(droppedText(dropped));
  return withLake(options, { log: progress(output) }, 'run', async (home) => {
    const heldBefore = new Set((await heldFiles(home)).map(({ id }) => id));
    await home.announceLanding();
    await home.reconcile();
    await home.executions.drain();
    const held = (await heldFiles(home)).filter(({ id }) => !heldBefore.has(id)).map(({ file, why }) => ({ file, why }));
    const reports = await Promise.all(
      home.ended.map(({ runId }) => readRunFile(home.runFiles, runId, 'report.json', reportSchema)),
    );
    const last = reports.findLast((report) => report !== null) ?? null;
    const shown = last?.tables != null ? last : await publishedReport(home);
    const tables = shown?.tables ?? Object.fromEntries([...LANDING_TABLES, ...PUBLISHED_TABLES].map((table) => [table, 0]));
    const identity = shown?.identity ?? { sameTime: 0, samePerson: 0, otherPerson: 0 };
    const result: RunResult = {
      status: last === null ? 'NOTHING_TO_DO' : last.status,
      runs: reports.flatMap((report) => report?.runId ?? []),
      tables,
      identity,
      withheld: shown?.withheld ?? { accelerometer: {}, step_trainer: {} },
      held,
      expectations: last?.expectations ?? expectedCounts({ ...tables, same_time: identity.sameTime }, settings),
      seconds: Math.round(performance.now() - started) / 1000,
    };
    return { result, report: last, settings };
  });
}

async function heldFiles(home: LocalHome): Promise<{ id: string; file: string; why: string }[]> {
  const held = [];
  for await (const { key, version, state, why } of home.ledger.files()) {
    if (state === 'held') held.push({ id: `${key} ${version}`, file: key, why: why ?? '' });
  }
  return held;
}

async function publishedReport(home: LocalHome): Promise<Report | null> {
  const published = await home.ledger.published();
  return published === null ? null : readRunFile(home.runFiles, published.runId, 'report.json', reportSchema);
}

function droppedText(dropped: readonly { added: boolean }[]): string {
  const added = dropped.filter((file) => file.added).length;
  const there = dropped.length - added;
  return `Dropped ${added} ${added === 1 ? 'file' : 'files'} into landing${there > 0 ? `; ${there} stood there already, with the same content` : ''}`;
}

function summary(result: RunResult, report: Report | null, settings: Settings, lake: string): string {
  const { folder, tables, runs } = lakePaths(lake);
  const last = result.runs.at(-1);
  const parts = [outcome(result, report)];
  if (Object.values(result.tables).some((rows) => rows > 0)) {
    parts.push(rowCountTable(result.tables, report?.tablesBefore ?? null), identitySentence(result.identity, settings.mlJoin));
  }
  if (result.held.length > 0)
    parts.push(`Held, waiting for a person:\n${result.held.map(({ file, why }) => `  ${file}: ${why}`).join('\n')}`);
  const failed = result.expectations.filter(({ ok }) => !ok);
  if (failed.length > 0) {
    parts.push(
      `Not met:\n${failed.map(({ name, expected, found, look }) => `  ${name}: expected ${expected}, found ${found}${look === undefined ? '' : `; look at ${look}`}`).join('\n')}`,
    );
  }
  parts.push(
    [`Tables  ${tables}`, ...(last === undefined ? [] : [`Report  ${runs}/${last}/report.md`]), `Lake    ${folder}`].join('\n'),
  );
  return parts.join('\n\n');
}

function outcome({ status, runs, seconds, held }: RunResult, report: Report | null): string {
  if (status === 'NOTHING_TO_DO') return 'Nothing new: no file is pending, and no setting, model or contract has changed.';
  const took = `${runs.length === 1 ? 'one run' : `${runs.length} runs`}, ${seconds.toFixed(2)} s`;
  if (status === 'SUCCEEDED') return `SUCCEEDED: all tables published${held.length > 0 ? ', but files are held' : ''} (${took}).`;
  const cause = report?.error == null ? '' : `\n${report.error.name}: ${report.error.cause}`;
  return `FAILED: ${report?.tables == null ? 'nothing was published; the tables are as they were' : 'see the report'} (${took}).${cause}`;
}
