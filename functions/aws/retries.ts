import type { S3ClientConfig } from '@aws-sdk/client-s3';

/** The type that every SDK client takes; the package that declares it is none of ours. */
type RetryStrategy = Extract<NonNullable<S3ClientConfig['retryStrategy']>, { recordSuccess: unknown }>;
type Token = Awaited<ReturnType<RetryStrategy['acquireInitialRetryToken']>>;
type Failure = Parameters<RetryStrategy['refreshRetryTokenForRetry']>[1];

/** A claim of 10,000 files may well outpace a table that has just been created. */
const ATTEMPTS = 10;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;

/**
 * Repeats what AWS refuses for a moment (throttling, errors of a service or of the network), with growing, random pauses; ten attempts last a
 * quarter of a minute on average. The SDK's own strategy gives up sooner: all requests of a client draw on one stock of retries, which is right
 * if thousands of clients would keep a weak service down. Here it would fail a whole plan, since fifty requests at a time empty it in a second.
 */
export class PatientRetries implements RetryStrategy {
  async acquireInitialRetryToken(): Promise<Token> {
    return tokenOf(0, 0);
  }

  async refreshRetryTokenForRetry(token: Token, { errorType, retryAfterHint }: Failure): Promise<Token> {
    const retries = token.getRetryCount() + 1;
    const passes = errorType === 'THROTTLING' || errorType === 'TRANSIENT';
    // The SDK throws what the request failed with, not this.
    if (!passes || retries >= ATTEMPTS) throw new Error('not to be tried again');
    const pause = Math.random() * Math.min(FIRST_PAUSE_MS * 2 ** (retries - 1), LONGEST_PAUSE_MS);
    const asked = retryAfterHint === undefined ? 0 : retryAfterHint.getTime() - Date.now();
    return tokenOf(retries, Math.max(pause, Math.min(asked, LONGEST_PAUSE_MS)));
  }

  recordSuccess(): void {
    // Nothing is counted.
  }
}

/** The SDK waits before it uses a token. */
function tokenOf(retries: number, pauseMs: number): Token {
  return { getRetryCount: () => retries, getRetryDelay: () => pauseMs };
}
