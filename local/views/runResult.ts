import { expectedCounts } from '../../functions/core/expectations.ts';
import { versionName } from '../../functions/core/fileVersions.ts';
import { doubtSentence, identitySentence, rowCountTable, withdrawalsWait } from '../../functions/core/renderReport.ts';
import { figure, filesText } from '../../functions/core/textTable.ts';
import { LANDING_TABLES, PUBLISHED_TABLES } from '../../functions/core/steps.ts';
import { addedUp, readRunFile, reportSchema } from '../../functions/core/runFiles.ts';
import type { Expectation, LoadCounts, Report } from '../../functions/core/runFiles.ts';
import type { Policies, Settings } from '../../functions/core/settings.ts';
import type { Ledger, LedgerFile, RunFiles } from '../../functions/ports.ts';
import { listed, listedWithReasons } from '../listed.ts';
import type { FileAndWhy } from '../listed.ts';
import type { Execution } from '../executions.ts';

/** What `run --json` prints. */
export interface RunResult {
  status: 'SUCCEEDED' | 'FAILED' | 'NOTHING_TO_DO';
  runs: string[];
  tables: Record<string, number>;
  identity: { sameTime: number; samePerson: number; otherPerson: number };
  /** The policy that these tables were built by. If there are none: on one machine the next run's, on a stage the default. */
  mlJoin: Policies['mlJoin'];
  withheld: { accelerometer: Record<string, number>; step_trainer: Record<string, number> };
  /** People who are trusted though nobody can say whether that is their last word; null if that was not counted. */
  consentsInDoubt: number | null;
  /** What became of the records of the files that these runs loaded. */
  loaded: LoadCounts;
  held: FileAndWhy[];
  /** Files that were held before, and still are. */
  heldBefore: FileAndWhy[];
  /** Files that these runs loaded with every record rejected. */
  useless: { file: string; records: number }[];
  /** Landed files that could not be read, so that no run knows them yet. */
  unread: FileAndWhy[];
  expectations: Expectation[];
  /** Why the last run failed, by the state machine; null if it did not. */
  error: string | null;
  seconds: number;
}

export type Totals = Pick<RunResult, 'tables' | 'identity' | 'mlJoin' | 'withheld' | 'consentsInDoubt'>;

/** What a lake that never published shows. */
export function noTotals(mlJoin: Policies['mlJoin']): Totals {
  return {
    tables: Object.fromEntries([...LANDING_TABLES, ...PUBLISHED_TABLES].map((table) => [table, 0])),
    identity: { sameTime: 0, samePerson: 0, otherPerson: 0 },
    mlJoin,
    withheld: { accelerometer: {}, step_trainer: {} },
    consentsInDoubt: 0,
  };
}

/** What the lake showed after a run; null when the run published nothing, or left no report. */
export function totalsOf(report: Report | null): Totals | null {
  const { tables = null, identity = null, withheld = null, policies = null, consentsInDoubt = null } = report ?? {};
  if (tables === null || identity === null || withheld === null || policies === null) return null;
  return { tables, identity, mlJoin: policies.mlJoin, withheld, consentsInDoubt };
}

/** The counts that are wanted, against those that are shown. */
export function expectationsOf({ tables, identity }: Totals, wanted: Settings['expectedCounts']): Expectation[] {
  return expectedCounts({ ...tables, same_time: identity.sameTime }, wanted);
}

/**
 * What executions came to for their files: the latest report, and that part of the result.
 * @param before the files that were held already
 */
export async function reportedBy(
  executions: readonly Pick<Execution, 'runId' | 'error'>[],
  { runFiles, ledger }: { runFiles: RunFiles; ledger: Pick<Ledger, 'held'> },
  before: readonly LedgerFile[],
) {
  const reports = await Promise.all(executions.map(({ runId }) => readRunFile(runFiles, runId, 'report.json', reportSchema)));
  const left = reports.filter((report) => report !== null);
  const published = left.filter(({ tables }) => tables !== null);
  const known = new Set(before.map(versionName));
  const held = await ledger.held();
  const asked = (files: readonly LedgerFile[]) => files.map(({ key, why }) => ({ file: key, why: why ?? '' }));
  return {
    last: left.at(-1) ?? null,
    reported: {
      runs: left.map(({ runId }) => runId),
      loaded: addedUp(published.flatMap(({ loads }) => Object.values(loads))),
      held: asked(held.filter((file) => !known.has(versionName(file)))),
      heldBefore: asked(held.filter((file) => known.has(versionName(file)))),
      useless: published.flatMap(({ useless }) => useless),
      error: executions.at(-1)?.error ?? null,
    } satisfies Partial<RunResult>,
  };
}

/** The exit code of `run`: 1 when a run failed, anything is held or can't be read, or an expectation was not met. */
export function exitCodeOf({ status, held, heldBefore, unread, expectations }: RunResult): number {
  const waits = held.length + heldBefore.length + unread.length > 0;
  return status === 'FAILED' || waits || expectations.some(({ ok }) => !ok) ? 1 : 0;
}

/** Whether there was nothing to run and there are no tables to show. */
export function isEmpty(result: RunResult): boolean {
  return result.status === 'NOTHING_TO_DO' && Object.values(result.tables).every((rows) => rows === 0);
}

/** The result of runs: outcome first, then the tables and what needs a person. `places` says where to look further. */
export function resultText(result: RunResult, report: Report | null, places: readonly string[]): string {
  const parts = [outcome(result, report)];
  if (Object.values(result.tables).some((rows) => rows > 0)) {
    parts.push(rowCountTable(result.tables, report?.tablesBefore ?? null), identitySentence(result.identity, result.mlJoin));
  }
  if (result.loaded.staged < result.loaded.landed) parts.push(loadedSentence(result.loaded));
  return [...parts, ...troubles(result), places.join('\n')].join('\n\n');
}

/** What needs a person: consents in doubt, files that wait for one, and expectations that were not met. */
export function troubles({ consentsInDoubt, held, heldBefore, useless, unread, expectations }: RunResult): string[] {
  const parts: string[] = [];
  const doubt = doubtSentence(consentsInDoubt);
  if (doubt !== null) parts.push(doubt);
  if (held.length > 0) parts.push(listedWithReasons('Held, waiting for a person', held));
  const withdrawals = withdrawalsWait([...held, ...heldBefore]);
  if (heldBefore.length > 0)
    parts.push(
      `${filesText(heldBefore.length)} held earlier still ${heldBefore.length === 1 ? 'waits' : 'wait'} for a person: "stedi files --state held" says why`,
    );
  if (withdrawals !== null) parts.push(withdrawals);
  if (useless.length > 0)
    parts.push(
      listed(
        'Loaded, but every record was rejected ("stedi rejects" says why; JSON lines are expected)',
        useless.map(({ file, records }) => `${file}: ${figure(records)} rejected`),
      ),
    );
  if (unread.length > 0)
    parts.push(listedWithReasons(`Can't be read; fix the name or the permissions, then "stedi run"`, unread));
  const failed = expectations.filter(({ ok }) => !ok);
  if (failed.length > 0) {
    parts.push(
      `Not met:\n${failed.map(({ name, expected, found, look }) => `  ${name}: expected ${expected}, found ${found}${look === undefined ? '' : `; look at ${look}`}`).join('\n')}`,
    );
  }
  return parts;
}

function loadedSentence({ landed, staged, duplicate, rejected }: LoadCounts): string {
  const look = rejected > 0 ? ' ("stedi rejects" shows them)' : '';
  return `${figure(landed)} landed now = ${figure(staged)} staged + ${figure(duplicate)} duplicate + ${figure(rejected)} rejected${look}`;
}

function outcome({ status, runs, seconds, held, error }: RunResult, report: Report | null): string {
  if (status === 'NOTHING_TO_DO') return 'Nothing new: no file is pending, and no setting, model or contract has changed.';
  const took = `${runs.length === 1 ? 'one run' : `${runs.length} runs`}, ${seconds.toFixed(2)} s`;
  if (status === 'SUCCEEDED') return `SUCCEEDED: all tables published${held.length > 0 ? ', but files are held' : ''} (${took}).`;
  const cause = error === null ? '' : `\n${error}`;
  return `FAILED: ${report?.tables == null ? 'nothing was published; the tables are as they were' : 'see the report'} (${took}).${cause}`;
}
