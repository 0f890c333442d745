import { figure, table } from '../../functions/core/renderReport.ts';
import type { LedgerFile } from '../../functions/ports.ts';
import { withLedger } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import { UsageError } from '../../functions/core/errors.ts';

const STATES = ['pending', 'claimed', 'loaded', 'held'];

/** The ledger: every file version with its state, run, records and rejects. */
export async function files({ options, output }: CommandContext, state: string | undefined): Promise<number> {
  if (state !== undefined && !STATES.includes(state))
    throw new UsageError(`--state ${state}: expected one of ${STATES.join(', ')}`);
  const list = await withLedger(options, async (home) => {
    const found: LedgerFile[] = [];
    for await (const file of home.ledger.files()) if (state === undefined || file.state === state) found.push(file);
    return found;
  });
  output.result(list, () =>
    list.length === 0
      ? `No file${state === undefined ? '' : ` is ${state}`}`
      : [
          table(
            ['file', 'state', 'run', 'landed', 'staged', 'duplicate', 'rejected', 'note'],
            list.map(({ key, state: is, runId, counts, why, unknownFields }) => [
              key,
              is,
              runId ?? '',
              ...[counts?.landed, counts?.staged, counts?.duplicate, counts?.rejected].map((count) =>
                count === undefined ? '' : figure(count),
              ),
              why ?? (unknownFields.length > 0 ? `unknown fields: ${unknownFields.join(', ')}` : ''),
            ]),
            ['l', 'l', 'l', 'r', 'r', 'r', 'r', 'l'],
          ),
          ...(list.some((file) => file.state === 'held')
            ? ['Held files wait for a person: see "stedi rejects", mend or change a setting, then "stedi retry FILE"']
            : []),
        ].join('\n\n'),
  );
  return 0;
}
