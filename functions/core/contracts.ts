import { z } from 'zod';
import accelerometerLanding from '../../glue/tables/accelerometer_landing.json' with { type: 'json' };
import accelerometerStaging from '../../glue/tables/accelerometer_staging.json' with { type: 'json' };
import accelerometerTrusted from '../../glue/tables/accelerometer_trusted.json' with { type: 'json' };
import customerLanding from '../../glue/tables/customer_landing.json' with { type: 'json' };
import customerStaging from '../../glue/tables/customer_staging.json' with { type: 'json' };
import customerTrusted from '../../glue/tables/customer_trusted.json' with { type: 'json' };
import customersCurated from '../../glue/tables/customers_curated.json' with { type: 'json' };
import loads from '../../glue/tables/loads.json' with { type: 'json' };
import machineLearningCurated from '../../glue/tables/machine_learning_curated.json' with { type: 'json' };
import rejected from '../../glue/tables/rejected.json' with { type: 'json' };
import stepTrainerLanding from '../../glue/tables/step_trainer_landing.json' with { type: 'json' };
import stepTrainerStaging from '../../glue/tables/step_trainer_staging.json' with { type: 'json' };
import stepTrainerTrusted from '../../glue/tables/step_trainer_trusted.json' with { type: 'json' };
import { LANDING_TABLES, MODEL_TABLES, PUBLISHED_TABLES, STAGING_TABLES } from './steps.ts';
import type { LandingTable, ModelTable, PublishedTable } from './steps.ts';

const column = z.strictObject({
  name: z.string().regex(/^[a-z][a-z_]*$/),
  type: z.enum(['STRING', 'BIGINT', 'DOUBLE', 'DATE']),
  comment: z.string().min(1),
  pii: z.literal(true).optional(),
});

/** How a landed value is judged and what it becomes: docs/records.md. */
const landingColumn = column.extend({
  rule: z.enum(['text', 'email', 'integer', 'time', 'consent', 'double']),
  required: z.boolean(),
  spellings: z.array(z.string()).min(1),
});

const grain = z.string().startsWith('one row per ');

const landingContract = z.strictObject({
  table: z.enum(LANDING_TABLES),
  zone: z.literal('landing'),
  grain,
  feeds: z.enum(STAGING_TABLES),
  time: z.string().optional(),
  identity: z.array(z.string()).min(1),
  columns: z.array(landingColumn).min(1),
});

const tableContract = z.strictObject({
  table: z.enum(PUBLISHED_TABLES),
  zone: z.enum(['staging', 'trusted', 'curated', 'operations']),
  grain,
  /** The landing table that a model's job stages before it builds its table. */
  stages: z.enum(LANDING_TABLES).optional(),
  partition: z.string().optional(),
  sort: z.array(z.string()).optional(),
  columns: z.array(column).min(1),
});

const modelContract = tableContract.extend({
  table: z.enum(MODEL_TABLES),
  /** Which of its published rows may go: those whose column is found in a table of `glue/excepted/`. */
  leavesWith: z.strictObject({ excepted: z.enum(['people', 'devices']), column: z.string() }),
});

export type Column = z.infer<typeof column>;
export type LandingColumn = z.infer<typeof landingColumn>;
export type LandingContract = z.infer<typeof landingContract>;
export type TableContract = z.infer<typeof tableContract>;
type ModelContract = z.infer<typeof modelContract>;

const landing = [customerLanding, accelerometerLanding, stepTrainerLanding].map(parsedBy(landingContract));
const stored = [customerStaging, accelerometerStaging, stepTrainerStaging, loads, rejected].map(parsedBy(tableContract));
const models = [customerTrusted, accelerometerTrusted, customersCurated, stepTrainerTrusted, machineLearningCurated].map(
  parsedBy(modelContract),
);
const published: readonly TableContract[] = [...stored, ...models];

/** Every table of the lake in the order in which a reader meets them: landing, staging, operations, models. */
export const CONTRACTS: readonly (LandingContract | TableContract)[] = [...landing, ...published];

/**
 * Columns that files may add to those of a landing contract. A file with thousands of made-up fields must neither fail nor swell the table that
 * everybody queries; the ledger still names its fields.
 */
export const MOST_EXTRA_COLUMNS = 200;

/** The contract of a landing table: which fields a record has, which of them are required, and its identity. */
export function landingContractOf(table: LandingTable): LandingContract {
  return found(landing, table);
}

/** The contract of a table that runs publish. */
export function contractOf(table: PublishedTable): TableContract {
  return found(published, table);
}

/** The contract of a table that a model makes. */
export function modelContractOf(table: ModelTable): ModelContract {
  return found(models, table);
}

function parsedBy<T>(schema: z.ZodType<T>): (contract: { table: string }) => T {
  return (contract) => {
    const parsed = schema.safeParse(contract);
    if (!parsed.success) throw new Error(`glue/tables/${contract.table}.json: ${z.prettifyError(parsed.error)}`);
    return parsed.data;
  };
}

function found<T extends { table: string }>(contracts: readonly T[], table: string): T {
  const contract = contracts.find((candidate) => candidate.table === table);
  if (contract === undefined)
    throw new Error(`no contract for ${table}: functions/core/contracts.ts must import glue/tables/${table}.json and list it`);
  return contract;
}
