import type { CommandContext } from '../lake.ts';
import { checkRetry, retriedText, retryIn } from '../views/retries.ts';
import { chosenRun } from '../views/runs.ts';
import { runsOf } from './objects.ts';
import { withStage } from './stage.ts';

/** Makes held files of a stage pending again; the next run, started by a file or the schedule, takes them in. */
export async function retry(
  { options, output }: CommandContext,
  keys: readonly string[],
  runId: string | undefined,
): Promise<number> {
  checkRetry({ keys, runId });
  const released = await withStage(options, async (stage) => {
    const chosen = runId === undefined ? undefined : chosenRun((await runsOf(stage)).toReversed(), runId);
    return retryIn(stage.ledger, { keys, runId: chosen });
  });
  output.result({ pending: released, forgotten: [] }, () =>
    retriedText(released, `stedi run --stage ${options.stage}`).join('\n'),
  );
  return 0;
}
