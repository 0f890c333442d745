import { z } from 'zod';
import { UsageError } from './errors.ts';
import { LANDING_TABLES, PUBLISHED_TABLES } from './steps.ts';

const ratio = z.number().min(0).max(1);
const count = z.int().min(0);

/** The name of a stage on AWS: buckets allow no capitals or underscores, the data catalog no hyphens, and a bucket's name has at most 63 letters. */
export const STAGE_NAME = /^[a-z][a-z0-9]{0,15}$/;

const COUNTABLE = [...LANDING_TABLES, ...PUBLISHED_TABLES, 'same_time'] as const;

/** Days for which CloudWatch keeps logs; it accepts only these numbers. */
const LOG_DAYS = [
  1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
] as const;

/** `aws` in `settings.json`: sizes, retention, network and e-mail of a deployed stage. One machine reads none of it. */
const awsSettingsSchema = z.strictObject({
  workerType: z.enum(['G.1X', 'G.2X', 'G.4X', 'G.8X']).default('G.1X').describe('Size of a worker of the Glue jobs.'),
  maxWorkers: z
    .int()
    .min(2)
    .max(299)
    .default(10)
    .describe('Workers that a Glue job takes at most; auto scaling takes as many as it has work for.'),
  jobTimeoutMinutes: z
    .int()
    .min(5)
    .max(235)
    .default(120)
    .describe('A Glue job that takes longer is stopped and its run fails; less than the four hours that its state waits.'),
  overdueMinutes: z.int().min(5).default(180).describe('An alarm rings when a run has been going for longer.'),
  waitingMinutes: z.int().min(5).default(240).describe('An alarm rings when a file has been pending for longer.'),
  landingDays: count
    .default(0)
    .describe('Landing files are deleted after so many days; 0 keeps them, and a rebuild needs them all.'),
  landingVersionDays: count
    .default(365)
    .describe('Overwritten and deleted landing files are kept for so many days more; 0 keeps them for ever.'),
  logDays: z.literal(LOG_DAYS).default(30).describe('Logs are deleted after so many days.'),
  snapshotDays: z.int().min(1).default(7).describe('Older versions of the tables can be queried for so many days.'),
  network: z
    .enum(['none', 'vpc'])
    .default('none')
    .describe(
      'Where Glue jobs run: in the network of the service, or in private subnets whose endpoints cost money by the hour.',
    ),
  alertEmail: z
    .union([z.literal(''), z.email()])
    .default('')
    .describe('Reports and alarms go to this address too; AWS asks it to confirm. Empty: to nobody by e-mail.'),
  athenaScanGb: z.int().min(1).default(100).describe('A query in Athena is cancelled when it would read more.'),
});

const mlJoin = z.enum(['person-and-time', 'time']);
const consentFrom = z.enum(['any-time', 'consent-date']);

/** The part of the settings that decides what the tables hold. */
export const policiesSchema = z.strictObject({ mlJoin, consentFrom });
export type Policies = z.infer<typeof policiesSchema>;

/** `settings.json`: policies and limits, the same for both homes. */
export const settingsSchema = z.strictObject({
  $schema: z.string().optional(),
  mlJoin: mlJoin
    .default('person-and-time')
    .describe(
      'Which pairs machine_learning_curated holds: one person at one time, or everybody at one time (the published reference).',
    ),
  consentFrom: consentFrom
    .default('any-time')
    .describe('Whether a consent covers all readings of the person, or those made at or after it.'),
  maxRejectRatio: ratio.default(0.05).describe('A run fails when more than this part of a landing table’s records are rejected.'),
  minRecordsForRatio: count.default(1000).describe('maxRejectRatio applies from this many records of a landing table in a run.'),
  maxShrinkRatio: ratio
    .default(0.2)
    .describe(
      'A run fails when a published table would lose more than this part of its rows, withdrawals and newly ambiguous devices excepted; not asked of a run after policies, models or contracts have changed.',
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
  maxGbPerRun: z
    .number()
    .positive()
    .default(200)
    .describe('How many gigabytes of landing files one run claims at most, or one file that is larger alone.'),
  expectedCounts: z
    .partialRecord(z.enum(COUNTABLE), count)
    .default({})
    .describe('Rows that a table must have for the gate to pass; same_time is the number of pairs at the same time.'),
  aws: awsSettingsSchema
    .default(awsSettingsSchema.parse({}))
    .describe('What only a deployed stage needs: sizes, retention, network, alarms and e-mail.'),
});

export type Settings = z.infer<typeof settingsSchema>;

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

/** Parses a settings file. Some editors begin one with a byte order mark, which nobody sees. @throws SyntaxError if it is not JSON */
export function settingsJson(text: string): unknown {
  return JSON.parse(text.replace(/^\uFEFF/, ''));
}

/**
 * Reads settings from the value of a JSON file and `--set` overrides (`key=value`).
 * @throws UsageError naming the setting, what was expected and found, with the list of known ones for an unknown key.
 */
export function parseSettings(value: unknown, source: string, overrides: readonly string[] = []): Settings {
  const object = z.record(z.string(), z.unknown()).safeParse(value);
  if (!object.success) throw new UsageError(`Settings: ${source} must hold one JSON object`);
  const merged = { ...object.data };
  for (const override of overrides) {
    const [, key, text] = /^([^=]+)=(.*)$/.exec(override) ?? [];
    if (key === undefined || text === undefined)
      throw new UsageError(`--set ${override}: expected key=value, for example --set mlJoin=time`);
    merged[key] = valueOf(text);
  }
  const parsed = settingsSchema.safeParse(merged);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) =>
    issue.code === 'unrecognized_keys'
      ? `unknown setting ${[...issue.path, issue.keys.join(', ')].join('.')}; expected one of ${knownAt(issue.path).join(', ')}`
      : `${issue.path.join('.')}: ${issue.message}, found ${JSON.stringify(settingAt(merged, issue.path))}`,
  );
  throw new UsageError(`Settings (${overrides.length > 0 ? `${source} with --set` : source}): ${problems.join('; ')}`);
}

function knownAt(path: readonly PropertyKey[]): string[] {
  if (path[0] === 'expectedCounts') return [...COUNTABLE];
  const schema = path[0] === 'aws' ? awsSettingsSchema : settingsSchema;
  return Object.keys(schema.shape).filter((key) => key !== '$schema');
}

function valueOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // `--set mlJoin=time` needs no quotes
  }
}

/** The value at a path of names; undefined if there is none. */
export function settingAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, key) => (typeof inner === 'object' && inner !== null ? Reflect.get(inner, key) : undefined),
    value,
  );
}
