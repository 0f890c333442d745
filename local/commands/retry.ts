import { withLedger } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import { checkRetry, retriedText, retryIn } from '../views/retries.ts';

/** Held files go back to pending. */
export async function retry(
  { options, output }: CommandContext,
  keys: readonly string[],
  runId: string | undefined,
): Promise<number> {
  checkRetry({ keys, runId });
  const released = await withLedger(options, (home) => retryIn(home.ledger, { keys, runId }));
  output.result(released, () => retriedText(released));
  return 0;
}
