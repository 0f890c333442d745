import { PatientRetries } from './retries.ts';

/** The configuration of every SDK client in the functions. */
export const CLIENT = { retryStrategy: new PatientRetries() } as const;

/** S3 tells buckets apart by host name; an emulator at one address can't. */
export const S3_CLIENT = { ...CLIENT, forcePathStyle: process.env['AWS_ENDPOINT_URL'] !== undefined } as const;
