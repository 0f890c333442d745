import type { TransactWriteItem } from '@aws-sdk/client-dynamodb';
import { claimLost, lockLost } from '../core/errors.ts';
import { chunked, inParallel } from '../core/parallel.ts';
import { FILE_PREFIX, LOCK, permitOf, permitPk } from './ledgerItems.ts';
import type { Permit } from './ledgerItems.ts';
import { BATCH_GET, TRANSACTION, TRANSACTION_BYTES } from './ledgerTable.ts';
import type { LedgerTable } from './ledgerTable.ts';

/**
 * What a run may take, and hence all that it can have taken.
 *
 * **A claim of 10,000 files is not a single write.** Permits are written first, in transactions that check the lock. Then the files move, in
 * parallel, each permit's files in one transaction that checks the permit. So the permits name every file version that the run can have claimed,
 * wherever the claiming process was killed, and reading them back does not depend on the index. A closed permit lets no further file move: a Plan
 * that goes on somewhere although its execution was aborted can take nothing that nobody would give back.
 */
export class Permits {
  readonly #table: LedgerTable;

  constructor(table: LedgerTable) {
    this.#table = table;
  }

  /**
   * Writes down what the run may take: the file versions with these primary keys. Permits are numbered without gaps, and an existing one is
   * never changed.
   * @throws LockLostError if the run no longer holds the lock, or was settled
   */
  async write(runId: string, fence: number, pks: readonly string[]): Promise<Permit[]> {
    const written: Permit[] = [];
    const left = chunked(pks, TRANSACTION - 1);
    while (left.length > 0) {
      const from = (await this.of(runId)).length;
      const group = left.splice(0, fitting(left)).map((files, at) => ({ pk: permitPk(runId, from + at), files, closed: false }));
      const failed = await this.#table.transact([
        checkOpen(this.#table.name, runId, fence),
        ...group.map(({ pk, files }) => ({
          Put: {
            TableName: this.#table.name,
            Item: { pk: { S: pk }, files: { L: files.map((file) => ({ S: file })) } },
            ConditionExpression: 'attribute_not_exists(pk)',
          },
        })),
      ]);
      if (failed.includes(0)) throw lockLost(runId);
      // Another Plan of this run has just taken these numbers; both claims hold what they name.
      if (failed.length > 0) left.unshift(...group.map(({ files }) => files));
      else written.push(...group);
    }
    return written;
  }

  /**
   * Moves the files of one permit, all or none. Files that this run already has may be among them.
   * @throws LockLostError if the permit is closed, or one of the files is no longer pending
   */
  async take(runId: string, permit: Permit): Promise<void> {
    const failed = await this.#table.transact([
      {
        ConditionCheck: {
          TableName: this.#table.name,
          Key: { pk: { S: permit.pk } },
          ConditionExpression: 'attribute_exists(pk) AND attribute_not_exists(closed)',
        },
      },
      ...permit.files.map((pk) => ({
        Update: {
          TableName: this.#table.name,
          Key: { pk: { S: pk } },
          UpdateExpression: 'SET #state = :claimed, run_id = :run REMOVE queue',
          ConditionExpression: '#state = :pending OR (#state = :claimed AND run_id = :run)',
          ExpressionAttributeNames: { '#state': 'state' },
          ExpressionAttributeValues: { ':claimed': { S: 'claimed' }, ':pending': { S: 'pending' }, ':run': { S: runId } },
        },
      })),
    ]);
    const [first] = failed;
    if (first === undefined) return;
    if (first === 0) throw lockLost(runId);
    const file = (permit.files[first - 1] ?? '').slice(FILE_PREFIX.length);
    throw claimLost(file);
  }

  /** All permits of a run, in order. */
  async of(runId: string): Promise<Permit[]> {
    const permits: Permit[] = [];
    for (;;) {
      const pks = Array.from({ length: permits.length === 0 ? 8 : BATCH_GET }, (_, at) => permitPk(runId, permits.length + at));
      const items = await this.#table.getAll(pks);
      permits.push(
        ...pks.flatMap((pk) => {
          const item = items.get(pk);
          return item === undefined ? [] : [permitOf(item)];
        }),
      );
      if (items.size < pks.length) return permits;
    }
  }

  async close(permits: readonly Permit[]): Promise<void> {
    await inParallel(
      permits.filter(({ closed }) => !closed),
      ({ pk }) =>
        this.#table.change(pk, {
          expression: 'SET closed = :yes',
          condition: 'attribute_exists(pk)',
          values: { ':yes': { BOOL: true } },
        }),
    );
  }

  async delete(permits: readonly Permit[]): Promise<void> {
    await this.#table.deleteAll(permits.map(({ pk }) => pk));
  }
}

/** Checks, within a transaction on the ledger's table, that the run holds the lock and was not settled. */
export function checkOpen(table: string, runId: string, fence: number): TransactWriteItem {
  return {
    ConditionCheck: {
      TableName: table,
      Key: { pk: { S: LOCK } },
      ConditionExpression: 'run_id = :run AND fence = :fence AND attribute_not_exists(settled)',
      ExpressionAttributeValues: { ':run': { S: runId }, ':fence': { N: String(fence) } },
    },
  };
}

/** How many of these permits fit into one transaction besides the check of the lock; at least one. */
function fitting(permits: readonly (readonly string[])[]): number {
  let bytes = 0;
  const over = permits.findIndex(
    (files) => (bytes += files.reduce((sum, pk) => sum + Buffer.byteLength(pk) + 3, 100)) > TRANSACTION_BYTES,
  );
  return Math.max(Math.min(over === -1 ? permits.length : over, TRANSACTION - 1), 1);
}
