import { z } from 'zod';

const text = z.string().min(1);

/** The environment of the functions. Each entry point picks and parses the variables it needs: `environment.pick({ … }).parse(process.env)`. */
export const environment = z.object({
  /** Bucket that files are dropped into. */
  LANDING_BUCKET: text,
  /** Bucket of the tables and of what runs leave behind. */
  LAKE_BUCKET: text,
  LEDGER_TABLE: text,
  /** Glue database. */
  DATABASE: text,
  STATE_MACHINE_ARN: text,
  /** Prefix of a job's name, before the name of its step. */
  JOB_PREFIX: text,
  TOPIC_ARN: text,
  /** Hash of policies, models, counts and contracts, computed when the service was packaged. */
  DEFINITION: text,
});
