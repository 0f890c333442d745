import { z } from 'zod';
import type { RunFiles } from '../ports.ts';
import { policiesSchema } from './settings.ts';
import { LANDING_TABLES, MODEL_TABLES, PUBLISHED_TABLES } from './steps.ts';

/**
 * The files of `runs/<runId>/`, as the steps of a run pass them on (docs/architecture.md, "A run"). The jobs of both engines write
 * `metrics/` and `rejects/`, so these schemas are the contract between the engines and the gate.
 */

const count = z.int().min(0);

/** `manifest.json`: the claim. */
export const manifestSchema = z.strictObject({
  runId: z.string(),
  fence: z.int().min(1),
  plannedAt: z.string(),
  /** Why the run goes ahead: files to load, or a change in what tables hold. */
  reason: z.enum(['files', 'definition']),
  definition: z.string(),
  definitionChanged: z.boolean(),
  /** The run whose tables this one replaces. */
  previous: z.string().nullable(),
  policies: policiesSchema,
  files: z.array(
    z.strictObject({
      table: z.enum(LANDING_TABLES),
      key: z.string(),
      version: z.string(),
      size: count,
      input: z.string().nullable(),
    }),
  ),
});
export type Manifest = z.infer<typeof manifestSchema>;

/** What became of the records of a file version, or of several. */
const countsSchema = z.strictObject({ landed: count, staged: count, duplicate: count, rejected: count });
export type LoadCounts = z.infer<typeof countsSchema>;

export function addedUp(loads: readonly LoadCounts[]): LoadCounts {
  const sum = (part: keyof LoadCounts) => loads.reduce((total, load) => total + load[part], 0);
  return { landed: sum('landed'), staged: sum('staged'), duplicate: sum('duplicate'), rejected: sum('rejected') };
}

/** `metrics/<step>.json`: what the job of one table did. */
export const stepMetricsSchema = z.strictObject({
  step: z.enum(MODEL_TABLES),
  runId: z.string(),
  seconds: z.number().min(0),
  rows: count,
  /** Rows of the published table that this run replaces. */
  rowsBefore: count,
  /** Of those, rows of people who withdrew and of devices that became ambiguous: they may go. */
  rowsExcepted: count,
  /** Only if the step stages a landing table. */
  staging: z
    .strictObject({
      landingTable: z.enum(LANDING_TABLES),
      seconds: z.number().min(0),
      rows: count,
      rowsBefore: count,
      files: z.array(
        countsSchema.extend({
          key: z.string(),
          version: z.string(),
          /** Rejected records by reason. */
          reasons: z.record(z.string(), count),
          /** Fields of its records that the contract does not know. */
          unknownFields: z.array(z.string()),
          /** Only if an earlier run has published it, though the ledger forgot: its counts are that run's. */
          known: z.literal(true).optional(),
        }),
      ),
      /** Keys of large files that can't be split (gzip, unusual names), each of which one task had to read; only if there are any. */
      slow: z.array(z.string()).optional(),
    })
    .optional(),
});
export type StepMetrics = z.infer<typeof stepMetricsSchema>;

/** Whether every record of a file was rejected. */
export function isUseless({ landed, rejected }: LoadCounts): boolean {
  return landed > 0 && rejected === landed;
}

/** `rejects/<landing table>.ndjson.gz`: JSON lines, gzipped. */
export const REJECTS_ENDING = '.ndjson.gz';

/** One of these lines, which is a row of the table `rejected`. */
export const rejectedSchema = z.object({
  landing_table: z.enum(LANDING_TABLES),
  file: z.string(),
  version: z.string(),
  line: z.number(),
  position: z.number(),
  reason: z.string(),
  field: z.string().nullable(),
  encoding: z.enum(['utf-8', 'base64']),
  record: z.string(),
  run_id: z.string(),
});
export type Rejected = z.infer<typeof rejectedSchema>;

const reasonsSchema = z.record(z.string(), count);
const identitySchema = z.strictObject({ sameTime: count, samePerson: count, otherPerson: count });

/** `metrics/audits.json`: what the last job counted on the run's version of the tables. */
export const auditsSchema = z.strictObject({
  runId: z.string(),
  seconds: z.number().min(0),
  /** count(*) of every table. */
  counts: z.record(z.enum(PUBLISHED_TABLES), count),
  /** Sums over `loads`, by landing table. */
  loads: z.record(z.enum(LANDING_TABLES), countsSchema),
  withheld: z.strictObject({ accelerometer: reasonsSchema, step_trainer: reasonsSchema }),
  identity: identitySchema,
  /** People who are trusted although nobody knows whether that is their last word; missing in runs of versions that did not count them. */
  consentsInDoubt: count.nullable().default(null),
  /** Rows that each audit returned. */
  audits: z.array(z.strictObject({ name: z.string(), rows: count })),
});
export type Audits = z.infer<typeof auditsSchema>;

const expectationSchema = z.strictObject({
  name: z.string(),
  ok: z.boolean(),
  expected: z.union([z.string(), z.number()]),
  found: z.union([z.string(), z.number()]),
  /** What to look at when it is not met. */
  look: z.string().optional(),
});
export type Expectation = z.infer<typeof expectationSchema>;

/** A file version that waits for a person. */
export const heldSchema = z.strictObject({ file: z.string(), version: z.string(), why: z.string() });
export type Held = z.infer<typeof heldSchema>;

/** `validation.json`: the gate's judgement. */
export const validationSchema = z.strictObject({
  runId: z.string(),
  ok: z.boolean(),
  expectations: z.array(expectationSchema),
  /** File versions that must wait for a person because of this judgement. */
  held: z.array(heldSchema),
});
export type Validation = z.infer<typeof validationSchema>;

/** `report.json`: what a run came to. Totals are read from the published tables. */
export const reportSchema = z.strictObject({
  runId: z.string(),
  status: z.enum(['SUCCEEDED', 'FAILED']),
  /** Publish had begun and has not finished yet: some tables may already show this run, and reconcile completes it. */
  publishing: z.boolean(),
  error: z.strictObject({ name: z.string(), cause: z.string() }).nullable(),
  reason: z.enum(['files', 'definition']).nullable(),
  policies: policiesSchema.nullable(),
  plannedAt: z.string().nullable(),
  reportedAt: z.string(),
  files: count,
  /** Rows by table after the run; a landing table's number is the records landed so far. Null when nothing was published. */
  tables: z.record(z.string(), count).nullable(),
  tablesBefore: z.record(z.string(), count).nullable(),
  loads: z.partialRecord(z.enum(LANDING_TABLES), countsSchema),
  /** Rejected records of this run by landing table and reason. */
  rejected: z.partialRecord(z.enum(LANDING_TABLES), reasonsSchema),
  withheld: z.strictObject({ accelerometer: reasonsSchema, step_trainer: reasonsSchema }).nullable(),
  identity: identitySchema.nullable(),
  /** As in `metrics/audits.json`. */
  consentsInDoubt: count.nullable().default(null),
  expectations: z.array(expectationSchema),
  held: z.array(heldSchema),
  /** Keys of large files that one task had to read; missing in reports older than this list. */
  slow: z.array(z.string()).default([]),
  /** Files of which every record was rejected, and how many; missing in reports older than this list. */
  useless: z.array(z.strictObject({ file: z.string(), records: count })).default([]),
  steps: z.array(z.strictObject({ step: z.string(), seconds: z.number().min(0) })),
});
export type Report = z.infer<typeof reportSchema>;

/**
 * Reads and parses one of a run's files; null if the run left none, or one that is cut off: what a damaged disk has lost is missing, and no run
 * should have to wait for it.
 */
export async function readRunFile<T>(files: RunFiles, runId: string, name: string, schema: z.ZodType<T>): Promise<T | null> {
  const text = await files.read(runId, name);
  const value = text === null ? undefined : parsed(text);
  return value === undefined ? null : schema.parse(value);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export async function writeRunFile<T>(
  files: RunFiles,
  runId: string,
  name: string,
  schema: z.ZodType<T>,
  value: T,
): Promise<void> {
  await files.write(runId, name, `${JSON.stringify(schema.parse(value), null, 2)}\n`);
}

/** The metrics of every step that has written them, in the order of the steps. */
export async function readStepMetrics(files: RunFiles, runId: string): Promise<StepMetrics[]> {
  const read = await Promise.all(
    MODEL_TABLES.map((step) => readRunFile(files, runId, `metrics/${step}.json`, stepMetricsSchema)),
  );
  return read.filter((metrics) => metrics !== null);
}
