import { AUDIT_NAMES } from './auditNames.ts';
import { addedUp } from './runFiles.ts';
import type { Audits, Expectation, LoadCounts, Manifest, StepMetrics, Validation } from './runFiles.ts';
import type { Settings } from './settings.ts';
import { byLandingTable, LANDING_TABLES, MODEL_TABLES } from './steps.ts';
import type { LandingTable } from './steps.ts';
import { landingContractOf } from './contracts.ts';
import { versionName } from './fileVersions.ts';

/** What the gate judges. A part that is null was never written, which fails the gate. */
export interface Evidence {
  manifest: Manifest;
  steps: readonly StepMetrics[];
  audits: Audits | null;
}

/** Judges a run by its named expectations (docs/architecture.md, "A run"). Pure: the same evidence gives the same judgement. */
export function judge(evidence: Evidence, settings: Settings): Validation {
  const { manifest, steps, audits } = evidence;
  const expectations: Expectation[] = [
    ...MODEL_TABLES.map((step) =>
      present(
        `metrics:${step}`,
        steps.some((metrics) => metrics.step === step),
        `runs/${manifest.runId}/metrics/${step}.json`,
      ),
    ),
    present('metrics:audits', audits !== null, `runs/${manifest.runId}/metrics/audits.json`),
    ...LANDING_TABLES.flatMap((table) => fileExpectations(table, evidence)),
  ];
  if (audits !== null) {
    expectations.push(
      ...countedAgain(steps, audits),
      ...stagedAsLoaded(audits),
      ...rowEquations(manifest, audits),
      ...AUDIT_NAMES.map((name) => auditExpectation(name, audits)),
      ...shrinkExpectations(steps, manifest, settings),
      ...expectedCounts(tableTotals(audits), settings.expectedCounts),
    );
  }
  const ratios = LANDING_TABLES.flatMap((table) => rejectRatio(table, steps, settings));
  expectations.push(...ratios.map((ratio) => ratio.expectation));
  const ok = expectations.every((expectation) => expectation.ok);
  return { runId: manifest.runId, ok, expectations, held: heldBy(manifest, expectations, ratios) };
}

/** A failed reject ratio holds the files that caused it; any other failure can't be pinned on a file and holds the whole claim. */
function heldBy(manifest: Manifest, expectations: readonly Expectation[], ratios: readonly Ratio[]): Validation['held'] {
  const failed = expectations.filter((expectation) => !expectation.ok);
  const culprits = ratios.filter((ratio) => !ratio.expectation.ok).flatMap((ratio) => ratio.culprits);
  const onlyRatios = failed.every((expectation) => ratios.some((ratio) => ratio.expectation === expectation));
  if (onlyRatios) return culprits;
  const names = failed.map((expectation) => expectation.name).join(', ');
  return manifest.files.map(({ key, version }) => ({
    file: key,
    version,
    why: culprits.find((culprit) => culprit.file === key && culprit.version === version)?.why ?? `the gate failed: ${names}`,
  }));
}

function present(name: string, ok: boolean, file: string): Expectation {
  return expectation(name, ok, 'written', ok ? 'written' : 'missing', `${file}: the job ended without its result; see its log`);
}

function expectation(name: string, ok: boolean, expected: string | number, found: string | number, look: string): Expectation {
  return ok ? { name, ok, expected, found } : { name, ok, expected, found, look };
}

function equal(name: string, expected: number, found: number, look: string): Expectation {
  return expectation(name, expected === found, expected, found, look);
}

function loadsOf(table: LandingTable, steps: readonly StepMetrics[]) {
  return steps.flatMap((metrics) => (metrics.staging?.landingTable === table ? metrics.staging.files : []));
}

/** Every claimed file version was read exactly once, and each one's records are all accounted for. */
function fileExpectations(table: LandingTable, { manifest, steps }: Evidence): Expectation[] {
  const claimed = manifest.files.filter((file) => file.table === table).map(versionName);
  const loads = loadsOf(table, steps);
  const loaded = new Set(loads.map(versionName));
  const missing = claimed.filter((file) => !loaded.has(file));
  const broken = loads.filter((load) => load.landed !== load.staged + load.duplicate + load.rejected);
  return [
    expectation(
      `files:${table}`,
      missing.length === 0 && loads.length === claimed.length,
      claimed.length,
      missing.length > 0 ? `${loads.length}, of which ${claimed.length - missing.length} were claimed` : loads.length,
      `metrics of the step that stages ${table}; not read: ${missing.slice(0, 3).join(', ') || 'none'}`,
    ),
    expectation(
      `conservation:${table}`,
      broken.length === 0,
      'landed = staged + duplicate + rejected in each file',
      broken.length === 0 ? 'true of each file' : `not true of ${broken.length} of ${loads.length} files`,
      broken
        .slice(0, 3)
        .map((load) => `${load.key}: ${load.landed} = ${load.staged} + ${load.duplicate} + ${load.rejected}`)
        .join('; '),
    ),
  ];
}

/** What the jobs said they wrote is what the tables hold. */
function countedAgain(steps: readonly StepMetrics[], audits: Audits): Expectation[] {
  return steps.flatMap((metrics) => {
    const look = `${metrics.step}: the rows that the job reported, against count(*) on the run's version`;
    const model = equal(`counted:${metrics.step}`, metrics.rows, audits.counts[metrics.step], look);
    if (metrics.staging === undefined) return [model];
    const table = landingContractOf(metrics.staging.landingTable).feeds;
    return [equal(`counted:${table}`, metrics.staging.rows, audits.counts[table], look), model];
  });
}

function stagedAsLoaded(audits: Audits): Expectation[] {
  return [
    ...LANDING_TABLES.map((table) => {
      const { feeds } = landingContractOf(table);
      return equal(
        `staged:${feeds}`,
        audits.loads[table].staged,
        audits.counts[feeds],
        `loads and ${feeds}: the sum of loads.staged must equal the rows of the table`,
      );
    }),
    equal(
      'staged:rejected',
      addedUp(Object.values(audits.loads)).rejected,
      audits.counts.rejected,
      'loads and rejected: the sum of loads.rejected must equal the rows of the table',
    ),
  ];
}

function rowEquations(manifest: Manifest, audits: Audits): Expectation[] {
  const { counts, withheld, identity } = audits;
  const pairs = manifest.policies.mlJoin === 'time' ? identity.sameTime : identity.samePerson;
  return [
    equal(
      'rows:accelerometer',
      counts.accelerometer_staging,
      counts.accelerometer_trusted + sum(withheld.accelerometer),
      'glue/counts/withheld_accelerometer.sql: staged = trusted + withheld',
    ),
    equal(
      'rows:step_trainer',
      counts.step_trainer_staging,
      counts.step_trainer_trusted + sum(withheld.step_trainer),
      'glue/counts/withheld_step_trainer.sql: staged = trusted + withheld',
    ),
    equal(
      'rows:machine_learning',
      pairs,
      counts.machine_learning_curated,
      'glue/counts/identity.sql: pairs counted from per-time counts = rows of machine_learning_curated',
    ),
  ];
}

function sum(reasons: Record<string, number>): number {
  return Object.values(reasons).reduce((total, rows) => total + rows, 0);
}

function auditExpectation(name: string, audits: Audits): Expectation {
  const audit = audits.audits.find((candidate) => candidate.name === name);
  return expectation(
    `audit:${name}`,
    audit?.rows === 0,
    0,
    audit?.rows ?? 'not run',
    `glue/audits/${name}.sql says what its rows mean`,
  );
}

interface Ratio {
  expectation: Expectation;
  culprits: Validation['held'];
}

/** Of what this run has read: what an earlier run published was judged then. */
function rejectRatio(table: LandingTable, steps: readonly StepMetrics[], settings: Settings): Ratio[] {
  const loads = loadsOf(table, steps).filter(({ known }) => known !== true);
  const { landed, rejected } = addedUp(loads);
  if (landed < settings.minRecordsForRatio || landed === 0) return [];
  const limit = settings.maxRejectRatio;
  // Quotients, not products: they round alike, so that files that pass alone also pass together.
  const over = (load: LoadCounts) => load.rejected / load.landed > limit;
  return [
    {
      expectation: expectation(
        `reject_ratio:${table}`,
        rejected / landed <= limit,
        `at most ${percent(limit)}`,
        `${percent(rejected / landed)} (${rejected} of ${landed})`,
        `the rejects of this run, then fix the files, or raise maxRejectRatio and retry them`,
      ),
      culprits: loads.filter(over).map((load) => ({
        file: load.key,
        version: load.version,
        why: `${load.rejected} of ${load.landed} records rejected, more than ${percent(limit)}: ${reasonsText(load.reasons)}`,
      })),
    },
  ];
}

function reasonsText(reasons: Record<string, number>): string {
  return Object.entries(reasons)
    .map(([reason, records]) => `${reason} ${records}`)
    .join(', ');
}

function percent(ratio: number): string {
  return `${Number((ratio * 100).toFixed(2))}%`;
}

/**
 * Not judged when policies, models, counts or contracts have changed: the tables are then meant to hold something else. Nor is a table of
 * pairs at the same time, each of which may go with either of two people; the readings that it pairs are judged.
 */
function shrinkExpectations(steps: readonly StepMetrics[], manifest: Manifest, settings: Settings): Expectation[] {
  if (manifest.definitionChanged) return [];
  return steps
    .filter(
      ({ step, rowsBefore }) => rowsBefore > 0 && !(step === 'machine_learning_curated' && manifest.policies.mlJoin === 'time'),
    )
    .map((metrics) => {
      // Rounded first: 100 × 0.57 is a little more than 57 to a computer.
      const kept = Math.ceil(Number((metrics.rowsBefore * (1 - settings.maxShrinkRatio)).toFixed(6)));
      const least = kept - metrics.rowsExcepted;
      return expectation(
        `shrink:${metrics.step}`,
        metrics.rows >= least,
        `at least ${least}`,
        metrics.rows,
        `the lost rows: there were ${metrics.rowsBefore}, of which ${metrics.rowsExcepted} may go (withdrawn, device ambiguous); maxShrinkRatio is ${percent(settings.maxShrinkRatio)}. If the loss is right, raise it for one run, and retry the files`,
      );
    });
}

/** The counts that the user expects, against rows by table (`same_time`: pairs at the same time). */
export function expectedCounts(totals: Record<string, number>, wanted: Settings['expectedCounts']): Expectation[] {
  return Object.entries(wanted).map(([table, expected]) =>
    equal(`expected:${table}`, expected, totals[table] ?? 0, 'expectedCounts in the settings, or --expect'),
  );
}

/** Rows by table; a landing table's number is the records landed so far. `same_time` counts pairs at the same time. */
function tableTotals(audits: Audits): Record<string, number> {
  return { ...landingTotals(audits.loads), ...audits.counts, same_time: audits.identity.sameTime };
}

/** Records landed so far: the sums over `loads`. */
export function landingTotals(loads: Audits['loads']): Record<LandingTable, number> {
  return byLandingTable((table) => loads[table].landed);
}
