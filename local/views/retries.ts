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

/** Makes held files pending again. @throws UsageError naming what is not held; the others are pending by then */
export async function retryIn(ledger: Ledger, { keys, runId }: Retry): Promise<FileVersion[]> {
  const found = await ledger.retry(runId === undefined ? { keys } : { runId });
  const missed = keys.filter((key) => !found.some((file) => file.key === key));
  if (found.length > 0 && missed.length === 0) return found;
  const what = runId === undefined ? missed.join(', ') : `no file of ${runId}`;
  const isKey = missed.every((key) => landingTableOf(key) !== null);
  const keyText = isKey ? '' : ' Name a file by its key, like customer_landing/file.json.';
  const rest = found.length > 0 ? ` The others (${found.length}) are pending again.` : '';
  throw new UsageError(
    `${what} ${runId === undefined ? 'is not held' : 'is held'}; "stedi files --state held" lists what is held.${keyText}${rest}`,
  );
}

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
