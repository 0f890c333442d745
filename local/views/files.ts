import { UsageError } from '../../functions/core/errors.ts';
import { figure, table } from '../../functions/core/textTable.ts';
import { FILE_STATES } from '../../functions/core/storedFile.ts';
import { isUseless } from '../../functions/core/runFiles.ts';
import type { LedgerFile } from '../../functions/ports.ts';

/** A ledger's file versions in this state, or all of them. */
export async function filesIn(files: AsyncIterable<LedgerFile>, state: string | undefined): Promise<LedgerFile[]> {
  const found: LedgerFile[] = [];
  for await (const file of files) if (state === undefined || file.state === state) found.push(file);
  return found;
}

/** @throws UsageError for an unknown state */
export function checkState(state: string | undefined): void {
  if (state !== undefined && !FILE_STATES.some((each) => each === state))
    throw new UsageError(`--state ${state}: expected one of ${FILE_STATES.join(', ')}`);
}

function noteOf(counts: LedgerFile['counts'], unknownFields: readonly string[]): string {
  if (counts !== null && isUseless(counts)) return 'every record was rejected';
  return unknownFields.length > 0 ? `unknown fields: ${unknownFields.join(', ')}` : '';
}

/** File versions as a table, and what to do if some are held. */
export function filesTable(list: readonly LedgerFile[], state: string | undefined): string {
  if (list.length === 0) return `No file${state === undefined ? '' : ` is ${state}`}`;
  return [
    table(
      ['file', 'state', 'run', 'landed', 'staged', 'duplicate', 'rejected', 'note'],
      list.map(({ key, state: is, runId, counts, why, unknownFields }) => [
        key,
        is,
        runId ?? '',
        ...[counts?.landed, counts?.staged, counts?.duplicate, counts?.rejected].map((count) =>
          count === undefined ? '' : figure(count),
        ),
        why ?? noteOf(counts, unknownFields),
      ]),
      ['l', 'l', 'l', 'r', 'r', 'r', 'r', 'l'],
    ),
    ...(list.some((file) => file.state === 'held')
      ? [
          'Held files wait for a person: the note says why, "stedi rejects" shows what was rejected.\n' +
            'Fix that or change a setting, then "stedi retry FILE" or "stedi retry --run RUN"; or "stedi drop" a fixed file under a new name.',
        ]
      : []),
  ].join('\n\n');
}
