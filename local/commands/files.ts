import { withLedger } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import { checkState, filesIn, filesText } from '../views/files.ts';

/** The ledger: every file version with its state, run, records and rejects. */
export async function files({ options, output }: CommandContext, state: string | undefined): Promise<number> {
  checkState(state);
  const list = await withLedger(options, (home) => filesIn(home.ledger.files(), state));
  output.result(list, () => filesText(list, state));
  return 0;
}
