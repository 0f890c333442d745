/**
 * What every SDK client of the functions is made with. Throttling and errors of a service pass: the SDK tries again with growing, random
 * pauses, ten times instead of three, because a claim of 10,000 files may well be faster than a table that has just been made.
 */
export const CLIENT = { maxAttempts: 10 } as const;

/** S3 keeps buckets apart by host name; an emulator under one address can't. */
export const S3_CLIENT = { ...CLIENT, forcePathStyle: process.env['AWS_ENDPOINT_URL'] !== undefined } as const;
