import type { Ledger, Ports, PublishedLake } from '../ports.ts';
import { landingTotals } from './expectations.ts';
import { readHeld } from './heldFiles.ts';
import { PUBLISHED_TABLES } from './steps.ts';
import type { LandingTable } from './steps.ts';
import {
  addedUp,
  auditsSchema,
  isUseless,
  manifestSchema,
  readRunFile,
  readStepMetrics,
  reportSchema,
  validationSchema,
  writeRunFile,
} from './runFiles.ts';
import type { Audits, Expectation, LoadCounts, Report, StepMetrics } from './runFiles.ts';
import { renderReport } from './renderReport.ts';

export type ReportPorts = Pick<Ports, 'runFiles' | 'alerts' | 'log' | 'now'> & {
  ledger: Pick<Ledger, 'lock'>;
  lake: Pick<PublishedLake, 'publishedRun' | 'counts' | 'publishesAtOnce'>;
};

/** The error reported for a run that published something other than what the gate saw. */
export const COUNTS_DIFFER = 'PublishedCountsDiffer';

/** The error reported for a run that failed: the name and cause that the state machine caught. */
interface RunError {
  name: string;
  cause: string;
}

/**
 * Writes `report.json` and `report.md` and sends the alert (states Report and ReportFailure).
 * Totals of a published run are read from the published tables again and compared with what the gate saw. `error` is null once Publish is done.
 */
export async function reportRun(ports: ReportPorts, runId: string, error: RunError | null): Promise<Report> {
  const manifest = await readRunFile(ports.runFiles, runId, 'manifest.json', manifestSchema);
  const steps = await readStepMetrics(ports.runFiles, runId);
  const audits = await readRunFile(ports.runFiles, runId, 'metrics/audits.json', auditsSchema);
  const validation = await readRunFile(ports.runFiles, runId, 'validation.json', validationSchema);
  const shown = (await ports.lake.publishedRun())?.runId ?? null;
  const isPublished = shown === runId;
  const lock = await ports.ledger.lock();
  const published = isPublished && audits !== null ? await publishedCounts(ports, audits) : null;
  const failure = error ?? (isPublished ? differing(published?.expectations ?? []) : overwritten(runId, shown));

  const report: Report = {
    runId,
    status: failure === null ? 'SUCCEEDED' : 'FAILED',
    publishing: !isPublished && !ports.lake.publishesAtOnce && lock?.runId === runId && lock.publishing,
    error: failure,
    reason: manifest?.reason ?? null,
    policies: manifest?.policies ?? null,
    plannedAt: manifest?.plannedAt ?? null,
    reportedAt: ports.now().toISOString(),
    files: manifest?.files.length ?? 0,
    tables: published?.tables ?? null,
    tablesBefore: await tablesOf(ports, manifest?.previous ?? null),
    loads: loadsByTable(steps),
    rejected: reasonsByTable(steps),
    withheld: audits?.withheld ?? null,
    identity: audits?.identity ?? null,
    consentsInDoubt: audits?.consentsInDoubt ?? null,
    expectations: [...(validation?.expectations ?? []), ...(published?.expectations ?? [])],
    held: [...(validation?.held ?? []), ...(await readHeld(ports.runFiles, runId))],
    slow: steps.flatMap(({ staging }) => staging?.slow ?? []),
    useless: uselessFiles(steps),
    steps: steps.map(({ step, seconds }) => ({ step, seconds })),
  };
  await writeRunFile(ports.runFiles, runId, 'report.json', reportSchema, report);
  const text = renderReport(report);
  await ports.alerts.send({
    subject: `STEDI lakehouse: ${report.status} ${runId}`,
    text,
    attributes: { status: report.status, runId },
  });
  // Last: it tells reconcile that the report was sent.
  await ports.runFiles.write(runId, 'report.md', text);
  ports.log('run_reported', { runId, status: report.status, ...sums(report) });
  return report;
}

async function publishedCounts(ports: ReportPorts, audits: Audits) {
  const counts = await ports.lake.counts();
  const expectations = PUBLISHED_TABLES.map((table) => {
    const [expected, found] = [audits.counts[table], counts[table]];
    return { name: `published:${table}`, ok: expected === found, expected, found };
  });
  return { tables: { ...landingTotals(audits.loads), ...counts }, expectations };
}

function differing(expectations: readonly Expectation[]): RunError | null {
  const changed = expectations.find(({ ok }) => !ok);
  if (changed === undefined) return null;
  return { name: COUNTS_DIFFER, cause: `${changed.name}: expected ${changed.expected}, found ${changed.found}` };
}

/** Publish has finished, or this run would not be reported without an error; so somebody else has written since. */
function overwritten(runId: string, shown: string | null): RunError {
  const found = shown ?? 'a version that no run made';
  return { name: COUNTS_DIFFER, cause: `machine_learning_curated: expected the run ${runId}, found ${found}` };
}

/** What a run came to in a few numbers, for the log; those of an unpublished run count what it tried. */
function sums({ files, loads, withheld, steps }: Report) {
  const sum = (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0);
  return {
    files,
    ...addedUp(Object.values(loads)),
    withheld: withheld === null ? 0 : sum([...Object.values(withheld.accelerometer), ...Object.values(withheld.step_trainer)]),
    jobSeconds: Math.round(sum(steps.map(({ seconds }) => seconds))),
  };
}

/** For a report that an earlier version of this program may have written. */
const tablesSchema = reportSchema.pick({ tables: true }).loose();

/** Totals after an earlier run, from its report. */
async function tablesOf(ports: ReportPorts, runId: string | null): Promise<Report['tables']> {
  if (runId === null) return null;
  return (await readRunFile(ports.runFiles, runId, 'report.json', tablesSchema))?.tables ?? null;
}

function loadsByTable(steps: readonly StepMetrics[]): Partial<Record<LandingTable, LoadCounts>> {
  const total: Partial<Record<LandingTable, LoadCounts>> = {};
  for (const { staging } of steps) if (staging !== undefined) total[staging.landingTable] = addedUp(readFiles(staging));
  return total;
}

function uselessFiles(steps: readonly StepMetrics[]): Report['useless'] {
  const files = steps.flatMap(({ staging }) => (staging === undefined ? [] : readFiles(staging)));
  return files.filter(isUseless).map(({ key, landed }) => ({ file: key, records: landed }));
}

/** The files that this run has read, without those that an earlier run had published. */
function readFiles({ files }: NonNullable<StepMetrics['staging']>) {
  return files.filter(({ known }) => known !== true);
}

function reasonsByTable(steps: readonly StepMetrics[]): Partial<Record<LandingTable, Record<string, number>>> {
  const total: Partial<Record<LandingTable, Record<string, number>>> = {};
  for (const { staging } of steps) {
    if (staging === undefined) continue;
    const reasons = new Map<string, number>();
    for (const file of staging.files)
      for (const [reason, records] of Object.entries(file.reasons)) reasons.set(reason, (reasons.get(reason) ?? 0) + records);
    if (reasons.size > 0) total[staging.landingTable] = Object.fromEntries([...reasons].sort());
  }
  return total;
}
