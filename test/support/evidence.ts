import { AUDIT_NAMES } from '../../functions/core/auditNames.ts';
import type { Audits, Manifest, StepMetrics } from '../../functions/core/runFiles.ts';
import { MODEL_TABLES } from '../../functions/core/steps.ts';
import type { LandingTable, ModelTable } from '../../functions/core/steps.ts';

/** What a run leaves for the gate to judge. */
export interface Evidence {
  manifest: Manifest;
  steps: StepMetrics[];
  audits: Audits | null;
}

type Load = NonNullable<StepMetrics['staging']>['files'][number];

/** One load of a file; its counts add up unless given otherwise. */
export function load(key: string, counts: Partial<Load> = {}): Load {
  const { staged = 10, duplicate = 0, rejected = 0 } = counts;
  const landed = staged + duplicate + rejected;
  return { key, version: 'v1', landed, staged, duplicate, rejected, reasons: {}, unknownFields: [], ...counts };
}

export function manifestOf(runId: string, files: readonly Load[], changed: Partial<Manifest> = {}): Manifest {
  return {
    runId,
    fence: 1,
    plannedAt: '2026-01-02T03:04:05.000Z',
    reason: 'files',
    definition: 'abc',
    definitionChanged: false,
    previous: null,
    policies: { mlJoin: 'person-and-time', consentFrom: 'any-time' },
    files: files.map(({ key, version }) => ({ table: tableOf(key), key, version, size: 1, input: null })),
    ...changed,
  };
}

function tableOf(key: string): LandingTable {
  if (key.startsWith('customer')) return 'customer_landing';
  return key.startsWith('step') ? 'step_trainer_landing' : 'accelerometer_landing';
}

/**
 * A run in which everything is as it must be: 90 customers, 60 of whom share, 1,900 of 2,000 motions and 950 of 1,000 steps trusted.
 * Six customer records were duplicates, four were rejected. The tables were as large before as now.
 */
export function goodEvidence(): Evidence {
  const customers = load('customer_landing/a', {
    staged: 90,
    duplicate: 6,
    rejected: 4,
    reasons: { not_text: 3, missing_field: 1 },
  });
  const motions = load('accelerometer_landing/a', { staged: 2000 });
  const steps = load('step_trainer_landing/a', { staged: 1000 });
  const rows: Record<ModelTable, number> = {
    customer_trusted: 60,
    accelerometer_trusted: 1900,
    customers_curated: 50,
    step_trainer_trusted: 950,
    machine_learning_curated: 1900,
  };
  const staging: Partial<Record<ModelTable, StepMetrics['staging']>> = {
    customer_trusted: { landingTable: 'customer_landing', seconds: 0.5, rows: 90, rowsBefore: 0, files: [customers] },
    accelerometer_trusted: { landingTable: 'accelerometer_landing', seconds: 0.5, rows: 2000, rowsBefore: 0, files: [motions] },
    step_trainer_trusted: { landingTable: 'step_trainer_landing', seconds: 0.5, rows: 1000, rowsBefore: 0, files: [steps] },
  };
  return {
    manifest: manifestOf('run-1', [customers, motions, steps]),
    steps: MODEL_TABLES.map((step) => ({
      step,
      runId: 'run-1',
      seconds: 1.25,
      rows: rows[step],
      rowsBefore: rows[step],
      rowsExcepted: 0,
      ...(staging[step] && { staging: staging[step] }),
    })),
    audits: {
      runId: 'run-1',
      seconds: 0.25,
      counts: { ...rows, customer_staging: 90, accelerometer_staging: 2000, step_trainer_staging: 1000, loads: 3, rejected: 4 },
      loads: {
        customer_landing: { landed: 100, staged: 90, duplicate: 6, rejected: 4 },
        accelerometer_landing: { landed: 2000, staged: 2000, duplicate: 0, rejected: 0 },
        step_trainer_landing: { landed: 1000, staged: 1000, duplicate: 0, rejected: 0 },
      },
      withheld: { accelerometer: { no_consent: 70, unknown_customer: 30 }, step_trainer: { no_motion: 50 } },
      identity: { sameTime: 2100, samePerson: 1900, otherPerson: 200 },
      consentsInDoubt: 0,
      audits: AUDIT_NAMES.map((name) => ({ name, rows: 0 })),
    },
  };
}
