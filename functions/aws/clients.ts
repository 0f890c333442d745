import { PatientRetries } from './retries.ts';

/** A claim of 10,000 files may well be faster than a table that has just been made. */
const ATTEMPTS = 10;

/** What every SDK client of the functions is made with. */
export const CLIENT = { maxAttempts: ATTEMPTS, retryStrategy: new PatientRetries(ATTEMPTS) } as const;

/** S3 keeps buckets apart by host name; an emulator under one address can't. */
export const S3_CLIENT = { ...CLIENT, forcePathStyle: process.env['AWS_ENDPOINT_URL'] !== undefined } as const;
