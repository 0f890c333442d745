import { UsageError } from '../../functions/core/errors.ts';
import type { FileVersion } from '../../functions/ports.ts';
import { withLedger } from '../lake.ts';
import type { CommandContext } from '../lake.ts';

/** Held files go back to pending. */
export async function retry(
  { options, output }: CommandContext,
  keys: readonly string[],
  runId: string | undefined,
): Promise<number> {
  if ((keys.length === 0) === (runId === undefined))
    throw new UsageError('retry takes either file keys or --run RUN; "stedi files --state held" lists what is held');
  const released: FileVersion[] = await withLedger(options, async (home) => {
    const found = await home.ledger.retry(runId === undefined ? { keys } : { runId });
    const missed = keys.filter((key) => !found.some((file) => file.key === key));
    if (found.length === 0 || missed.length > 0) {
      const what = runId === undefined ? missed.join(', ') : `no file of ${runId}`;
      const rest = found.length > 0 ? ` The others (${found.length}) are pending again.` : '';
      throw new UsageError(
        `${what} ${runId === undefined ? 'is not held' : 'is held'}; "stedi files --state held" lists what is held.${rest}`,
      );
    }
    return found;
  });
  output.result(
    released,
    () =>
      `${released.map(({ key }) => `${key} is pending again`).join('\n')}\n"stedi run" takes ${released.length === 1 ? 'it' : 'them'} in`,
  );
  return 0;
}
