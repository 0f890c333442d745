import type { CommandContext } from '../lake.ts';
import { checkRetry, retriedText, retryIn } from '../views/retries.ts';
import { withStage } from './stage.ts';

/** Held files of a stage go back to pending; the next run, which a file or the schedule starts, takes them in. */
export async function retry(
  { options, output }: CommandContext,
  keys: readonly string[],
  runId: string | undefined,
): Promise<number> {
  checkRetry({ keys, runId });
  const released = await withStage(options, ({ ledger }) => retryIn(ledger, { keys, runId }));
  output.result(released, () => retriedText(released).join('\n'));
  return 0;
}
