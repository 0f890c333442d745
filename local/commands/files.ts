import type { LedgerFile } from '../../functions/ports.ts';
import type { LocalHome } from '../home.ts';
import { changedAt } from '../landing.ts';
import { withLedger } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import { checkState, filesIn, filesTable } from '../views/files.ts';

/** Every file version with its state, run, records and rejects: those in the ledger, and those that have landed since. */
export async function files({ options, output }: CommandContext, state: string | undefined): Promise<number> {
  checkState(state);
  const list = await withLedger(options, (home) => filesIn(everyFile(home), state));
  output.result(list, () => filesTable(list, state));
  return 0;
}

async function* everyFile(home: LocalHome): AsyncGenerator<LedgerFile> {
  yield* home.ledger.files();
  const untouched = { state: 'pending', runId: null, attempts: 0, why: null, counts: null } as const;
  for (const file of await home.unknownLanded()) {
    const arrivedAt = landedAt(file.version);
    yield { ...file, ...untouched, unknownFields: [], format: 'unknown', arrivedAt, waitsSince: arrivedAt };
  }
}

/** When the file last changed; a time in the future comes from another clock and says nothing. */
function landedAt(version: string): string {
  return new Date(Math.max(0, Math.min(changedAt(version), Date.now()))).toISOString();
}
