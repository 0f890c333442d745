import type { CommandContext } from '../lake.ts';
import { checkState, filesIn, filesTable } from '../views/files.ts';
import { withStage } from './stage.ts';

/** The ledger of a stage. */
export async function files({ options, output }: CommandContext, state: string | undefined): Promise<number> {
  checkState(state);
  const list = await withStage(options, ({ ledger }) => (state === 'held' ? ledger.held() : filesIn(ledger.files(), state)));
  output.result(list, () => filesTable(list, state));
  return 0;
}
