import { UsageError } from '../../functions/core/errors.ts';
import { landingTableOf } from '../../functions/core/catalogFile.ts';
import type { FileVersion, Ledger } from '../../functions/ports.ts';

/** Which held files go back to pending: these keys, or those that a run left. */
export interface Retry {
  keys: readonly string[];
  runId: string | undefined;
}

/** @throws UsageError unless either keys or a run are named */
export function checkRetry({ keys, runId }: Retry): void {
  if ((keys.length === 0) === (runId === undefined))
    throw new UsageError('retry takes either file keys or --run RUN; "stedi files --state held" lists what is held');
}

/** Makes held files pending again. @throws UsageError naming what is not held; then nothing has changed */
export async function retryIn(ledger: Ledger, { keys, runId }: Retry): Promise<FileVersion[]> {
  const held = await ledger.held();
  const missed = keys.filter((key) => !held.some((file) => file.key === key));
  const isKey = missed.every((key) => landingTableOf(key) !== null);
  const keyText = isKey ? '' : ' Name a file by its key, like customer_landing/file.json.';
  if (missed.length > 0) throw new UsageError(`${missed.join(', ')} is not held; ${HELD}.${keyText}`);
  if (runId !== undefined && !held.some((file) => file.runId === runId))
    throw new UsageError(`no file of ${runId} is held; ${HELD}.`);
  const released = await ledger.retry(runId === undefined ? { keys: [...new Set(keys)] } : { runId });
  if (released.length === 0) throw new UsageError(`somebody else was faster: it is no longer held; ${HELD}.`);
  return released.map(({ table, key, version, size }) => ({ table, key, version, size }));
}

const HELD = '"stedi files --state held" lists what is held';

/** What is pending again, and the command that takes it in. */
export function retriedText(released: readonly FileVersion[], run = 'stedi run'): string[] {
  if (released.length === 0) return [];
  return [...released.map(({ key }) => `${key} is pending again`), `"${run}" takes ${released.length === 1 ? 'it' : 'them'} in`];
}

export function forgottenText(gone: readonly FileVersion[]): string[] {
  return gone.map(
    ({ key }) => `${key}: the held version is no longer in landing, so it is forgotten; none of its records were loaded`,
  );
}
