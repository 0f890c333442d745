import { z } from 'zod';
import { UsageError } from './errors.ts';
import { LANDING_TABLES, PUBLISHED_TABLES } from './steps.ts';

const ratio = z.number().min(0).max(1);
const count = z.int().min(0);

const COUNTABLE = [...LANDING_TABLES, ...PUBLISHED_TABLES, 'same_time'] as const;

/** `settings.json`: policies and limits, the same for both homes. */
export const settingsSchema = z.strictObject({
  $schema: z.string().optional(),
  mlJoin: z
    .enum(['person-and-time', 'time'])
    .default('person-and-time')
    .describe(
      'Which pairs machine_learning_curated holds: one person at one time, or everybody at one time (the published reference).',
    ),
  consentFrom: z
    .enum(['any-time', 'consent-date'])
    .default('any-time')
    .describe('Whether a consent covers all readings of the person, or those made at or after it.'),
  maxRejectRatio: ratio.default(0.05).describe('A run fails when more than this part of a landing table’s records are rejected.'),
  minRecordsForRatio: count.default(1000).describe('maxRejectRatio applies from this many records of a landing table in a run.'),
  maxShrinkRatio: ratio
    .default(0.2)
    .describe(
      'A run fails when a published table would lose more than this part of its rows, withdrawals and newly ambiguous devices excepted.',
    ),
  settleSeconds: z
    .int()
    .min(0)
    .max(3600)
    .default(2)
    .describe('How long a run waits before it claims files, so that files dropped together form one run.'),
  maxFilesPerRun: z
    .int()
    .min(1)
    .default(10_000)
    .describe('How many file versions one run claims at most; the rest goes into the next run.'),
  expectedCounts: z
    .partialRecord(z.enum(COUNTABLE), count)
    .default({})
    .describe('Rows that a table must have for the gate to pass; same_time is the number of pairs at the same time.'),
});

export type Settings = z.infer<typeof settingsSchema>;

/** The part of the settings that decides what the tables hold. */
export type Policies = Pick<Settings, 'mlJoin' | 'consentFrom'>;

/** The counts of the published reference, for `--expect published`. Source: the STEDI course project, its rubric's row counts. */
export const PUBLISHED_REFERENCE: Settings['expectedCounts'] = {
  customer_landing: 956,
  accelerometer_landing: 81_273,
  step_trainer_landing: 28_680,
  customer_trusted: 482,
  accelerometer_trusted: 40_981,
  customers_curated: 482,
  step_trainer_trusted: 14_460,
  same_time: 43_681,
};

/**
 * Reads settings from the value of a JSON file and `--set` overrides (`key=value`).
 * @throws UsageError naming the setting, what was expected and found, with the list of known ones for an unknown key.
 */
export function parseSettings(value: unknown, source: string, overrides: readonly string[] = []): Settings {
  const merged: Record<string, unknown> = { ...z.record(z.string(), z.unknown()).parse(value) };
  for (const override of overrides) {
    const [, key, text] = /^([^=]+)=(.*)$/.exec(override) ?? [];
    if (key === undefined || text === undefined)
      throw new UsageError(`--set ${override}: expected key=value, for example --set mlJoin=time`);
    merged[key] = valueOf(text);
  }
  const parsed = settingsSchema.safeParse(merged);
  if (parsed.success) return parsed.data;
  const known = Object.keys(settingsSchema.shape).filter((key) => key !== '$schema');
  const problems = parsed.error.issues.map((issue) =>
    issue.code === 'unrecognized_keys' && issue.path.length === 0
      ? `unknown setting ${issue.keys.join(', ')}; known are ${known.join(', ')}`
      : `${issue.path.join('.')}: ${issue.message}, found ${JSON.stringify(at(merged, issue.path))}`,
  );
  throw new UsageError(`Settings (${overrides.length > 0 ? `${source} with --set` : source}): ${problems.join('; ')}`);
}

function valueOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // `--set mlJoin=time` needs no quotes
  }
}

function at(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, key) => (typeof inner === 'object' && inner !== null ? Reflect.get(inner, key) : undefined),
    value,
  );
}
