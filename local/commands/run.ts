import { expectedCounts, landingTotals } from '../../functions/core/expectations.ts';
import { identitySentence, rowCountTable } from '../../functions/core/renderReport.ts';
import { readRunFile, reportSchema } from '../../functions/core/runFiles.ts';
import type { Expectation, Report } from '../../functions/core/runFiles.ts';
import type { Settings } from '../../functions/core/settings.ts';
import type { Log } from '../../functions/ports.ts';
import { LANDING_TABLES, PUBLISHED_TABLES } from '../../functions/core/steps.ts';
import { countLake, createViews } from '../duckdb/counts.ts';
import { dropFiles, findDrops } from '../dropFiles.ts';
import type { Drop } from '../dropFiles.ts';
import type { LocalHome } from '../home.ts';
import { lakePaths } from '../home.ts';
import { loadSettings, withLake } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import { progress } from '../output.ts';
import { STABLE_MS, untilQuiet } from '../untilQuiet.ts';

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
export async function run(
  { options, output }: CommandContext,
  sources: readonly string[],
  own: ReadonlySet<string> = new Set(),
): Promise<number> {
  const drops = await findDrops(sources);
  const { result, report, error, settings } = await runLake({ options, output }, drops, own);
  output.result(result, () => summary(result, report, error, settings, options.lake));
  return result.status === 'FAILED' || result.held.length > 0 || result.expectations.some(({ ok }) => !ok) ? 1 : 0;
}

/** Drops files and runs. `own` are landing keys that this process wrote, and that nobody writes any more. */
export async function runLake({ options, output }: CommandContext, drops: readonly Drop[], own: ReadonlySet<string> = new Set()) {
  const started = performance.now();
  const settings = loadSettings(options);
  const dropped = await dropFiles(lakePaths(options.lake).landing, drops);
  if (drops.length > 0) output.say(droppedText(dropped));
  const uncataloged = new Map<string, string>();
  const show = progress(output);
  const log: Log = (event, fields = {}) => {
    if (event === 'catalog_failed') uncataloged.set(String(fields['key']), String(fields['error']));
    show(event, fields);
  };
  return withLake(options, { log, stableMs: STABLE_MS }, 'run', async (home) => {
    for (const key of [...own, ...dropped.map((file) => file.key)]) home.landing.own.add(key);
    await untilQuiet(home, (text) => output.say(text));
    const heldBefore = new Set((await heldFiles(home)).map(({ id }) => id));
    await home.announceLanding();
    await home.reconcile();
    await home.executions.drain();
    const nowHeld = (await heldFiles(home)).filter(({ id }) => !heldBefore.has(id)).map(({ file, why }) => ({ file, why }));
    const held = [...nowHeld, ...[...uncataloged].map(([file, why]) => ({ file, why }))];
    const reports = await Promise.all(
      home.ended.map(({ runId }) => readRunFile(home.runFiles, runId, 'report.json', reportSchema)),
    );
    const last = reports.findLast((report) => report !== null) ?? null;
    const { tables, identity, withheld } =
      (last?.tables != null ? totalsOf(last) : null) ?? (await publishedTotals(home, settings));
    const result: RunResult = {
      status: home.ended.at(-1)?.status === 'FAILED' ? 'FAILED' : (last?.status ?? 'NOTHING_TO_DO'),
      runs: reports.flatMap((report) => report?.runId ?? []),
      tables,
      identity,
      withheld,
      held,
      expectations: last?.expectations ?? expectedCounts({ ...tables, same_time: identity.sameTime }, settings),
      seconds: Math.round(performance.now() - started) / 1000,
    };
    return { result, report: last, error: home.ended.at(-1)?.error ?? null, settings };
  });
}

async function heldFiles(home: LocalHome): Promise<{ id: string; file: string; why: string }[]> {
  const held = [];
  for await (const { key, version, state, why } of home.ledger.files()) {
    if (state === 'held') held.push({ id: `${key} ${version}`, file: key, why: why ?? '' });
  }
  return held;
}

type Totals = Pick<RunResult, 'tables' | 'identity' | 'withheld'>;

function totalsOf({ tables, identity, withheld }: Report): Totals | null {
  return tables === null || identity === null || withheld === null ? null : { tables, identity, withheld };
}

/** What the lake shows: from the report of the run that published it, or counted again where that is lost. */
async function publishedTotals(home: LocalHome, settings: Settings): Promise<Totals> {
  const published = await home.ledger.published();
  const report = published === null ? null : await readRunFile(home.runFiles, published.runId, 'report.json', reportSchema);
  const totals = report === null ? null : totalsOf(report);
  if (totals !== null) return totals;
  if ((await home.ports.lake.publishedRun()) === null) {
    const tables = Object.fromEntries([...LANDING_TABLES, ...PUBLISHED_TABLES].map((table) => [table, 0]));
    return {
      tables,
      identity: { sameTime: 0, samePerson: 0, otherPerson: 0 },
      withheld: { accelerometer: {}, step_trainer: {} },
    };
  }
  const { run: connection } = await home.session();
  await createViews(connection, settings);
  const { counts, loads, identity, withheld } = await countLake(connection);
  return { tables: { ...landingTotals(loads), ...counts }, identity, withheld };
}

function droppedText(dropped: readonly { added: boolean }[]): string {
  const added = dropped.filter((file) => file.added).length;
  const there = dropped.length - added;
  return `Dropped ${added} ${added === 1 ? 'file' : 'files'} into landing${there > 0 ? `; ${there} stood there already, with the same content` : ''}`;
}

function summary(result: RunResult, report: Report | null, error: string | null, settings: Settings, lake: string): string {
  if (result.status === 'NOTHING_TO_DO' && result.held.length === 0 && Object.values(result.tables).every((rows) => rows === 0)) {
    return `Nothing to do: no file in ${lakePaths(lake).landing} is pending, and nothing was published yet. "stedi run SOURCE" puts files there, "stedi files" shows what waits, "stedi start" makes sample data.`;
  }
  const { folder, tables, runs } = lakePaths(lake);
  const last = result.runs.at(-1);
  const parts = [outcome(result, report, error)];
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

function outcome({ status, runs, seconds, held }: RunResult, report: Report | null, error: string | null): string {
  if (status === 'NOTHING_TO_DO') return 'Nothing new: no file is pending, and no setting, model or contract has changed.';
  const took = `${runs.length === 1 ? 'one run' : `${runs.length} runs`}, ${seconds.toFixed(2)} s`;
  if (status === 'SUCCEEDED') return `SUCCEEDED: all tables published${held.length > 0 ? ', but files are held' : ''} (${took}).`;
  const cause = error === null ? '' : `\n${error}`;
  return `FAILED: ${report?.tables == null ? 'nothing was published; the tables are as they were' : 'see the report'} (${took}).${cause}`;
}
