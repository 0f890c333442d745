import { PatientRetries } from './retries.ts';

/** A claim of 10,000 files may well outpace a table that has just been created. */
const ATTEMPTS = 10;

/** The configuration of every SDK client in the functions. */
export const CLIENT = { maxAttempts: ATTEMPTS, retryStrategy: new PatientRetries(ATTEMPTS) } as const;

/** S3 tells buckets apart by host name; an emulator at one address can't. */
export const S3_CLIENT = { ...CLIENT, forcePathStyle: process.env['AWS_ENDPOINT_URL'] !== undefined } as const;
