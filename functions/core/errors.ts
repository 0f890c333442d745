/**
 * The errors a person may see. Each message names the thing, and says what was expected, what was found and what to do next.
 * `name` is set explicitly: Step Functions and aws-local-stepfunctions match Catch and Retry by it.
 */
export abstract class NamedError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** The command, a flag or a setting is wrong (exit code 2). */
export class UsageError extends NamedError {}

/** Another process is working on this lake. */
export class LakeBusyError extends NamedError {}

/** The gate failed: nothing was published. The message names the expectations that were not met. */
export class GateFailedError extends NamedError {}

/** The run does not hold the run lock (any more), so it must not write. */
export class LockLostError extends NamedError {}

/** What a ledger throws if a run writes without the lock. */
export function lockLost(runId: string): LockLostError {
  return new LockLostError(`${runId} does not hold the run lock (any more), so it must not write; start a new run`);
}

/** What a ledger throws if a run claims what belongs to another. */
export function claimLost(key: string): LockLostError {
  return new LockLostError(`${key}: expected it to be pending, but another run has claimed it; start a new run`);
}

/** A landing file is not the version that the manifest names. */
export class LandingChangedError extends NamedError {}

/** A run can read none of what it asked landing for: most likely a permission is missing. */
export class LandingRefusedError extends NamedError {}

/** The lake can't be read or written: full disk, missing permission, damaged file. */
export class LakeUnusableError extends NamedError {}

/** The tables file is not a database (any more), which no permission or free space can mend. */
export class TablesDamagedError extends LakeUnusableError {}

/** A deployed stage does not exist, can't be reached, or does not accept these credentials. */
export class StageError extends NamedError {}

/** The text of anything thrown. */
export function messageOf(error: unknown): string {
  // DuckDB's errors come from another realm under jest, so `instanceof Error` would miss them.
  if (typeof error === 'object' && error !== null && 'message' in error) return String(error.message);
  return String(error);
}
