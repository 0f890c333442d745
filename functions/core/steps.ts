/** Names that code needs as values: the tables, and the steps that build them, in dependency order. */

export const LANDING_TABLES = ['customer_landing', 'accelerometer_landing', 'step_trainer_landing'] as const;
export type LandingTable = (typeof LANDING_TABLES)[number];

export const STAGING_TABLES = ['customer_staging', 'accelerometer_staging', 'step_trainer_staging'] as const;

/** One job, model and metrics file each, in dependency order; `machine_learning_curated` is published last. */
export const MODEL_TABLES = [
  'customer_trusted',
  'accelerometer_trusted',
  'customers_curated',
  'step_trainer_trusted',
  'machine_learning_curated',
] as const;
export type ModelTable = (typeof MODEL_TABLES)[number];

/** Every table that a run publishes. */
export const PUBLISHED_TABLES = [...STAGING_TABLES, 'loads', 'rejected', ...MODEL_TABLES] as const;
export type PublishedTable = (typeof PUBLISHED_TABLES)[number];

/** `--step` of the Glue job, in the order of the state machine. */
export const JOB_STEPS = [...MODEL_TABLES, 'publish'] as const;
export type JobStep = (typeof JOB_STEPS)[number];

/** The state of a step: `customer_trusted` runs in the state `CustomerTrusted`. */
export function stateOf(step: string): string {
  return step.replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** Something for each landing table, by its name. */
export function byLandingTable<T>(of: (table: LandingTable) => T): Record<LandingTable, T> {
  return {
    customer_landing: of('customer_landing'),
    accelerometer_landing: of('accelerometer_landing'),
    step_trainer_landing: of('step_trainer_landing'),
  };
}

export function isLandingTable(name: string): name is LandingTable {
  return LANDING_TABLES.some((table) => table === name);
}
