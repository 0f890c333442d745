import { withLedger } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import { checkRetry, forgottenText, retriedText, retryIn } from '../views/retries.ts';
import { chosenRun } from '../views/runs.ts';

/** Makes held files pending again. A version no longer in landing is forgotten instead, since nothing can read it any more. */
export async function retry(
  { options, output }: CommandContext,
  keys: readonly string[],
  runId: string | undefined,
): Promise<number> {
  checkRetry({ keys, runId });
  return withLedger(options, async (home) => {
    const history = home.executions.history().map((execution) => execution.runId);
    const released = await retryIn(home.ledger, {
      keys,
      runId: runId === undefined ? undefined : chosenRun(history, runId),
    });
    const standing = await Promise.all(
      released.map(async ({ key, version }) => (await home.landing.current(key))?.version === version),
    );
    const gone = released.filter((_, at) => standing[at] === false);
    const pending = released.filter((_, at) => standing[at] === true);
    home.ledger.forget(gone);
    output.result({ pending, forgotten: gone }, () => [...forgottenText(gone), ...retriedText(pending)].join('\n'));
    return 0;
  });
}
