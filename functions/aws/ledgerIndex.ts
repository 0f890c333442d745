import { paginateQuery } from '@aws-sdk/client-dynamodb';
import type { FileVersion } from '../ports.ts';
import { inByteOrder, pkOf, SHARDS, WAITING_INDEX, waitingItemSchema } from './ledgerItems.ts';
import type { Queue } from './ledgerItems.ts';
import type { LedgerTable } from './ledgerTable.ts';

/** How long the index may lag behind what this process has written; usually it is milliseconds. */
const INDEX_LAG_MS = 60_000;

interface Waiting {
  pk: string;
  position: string;
}

/**
 * What waits, according to the index of the ledger table. An index lags: what it returns must be looked up in the table before it is believed, and
 * what this process has just made pending counts even if the index does not know it yet; otherwise the file that `catalog` has registered would be
 * missing when it asks for a run.
 */
export class WaitingFiles {
  readonly #table: LedgerTable;
  readonly #now: () => Date;
  /** File versions that this process has just made pending, and until when that matters. */
  readonly #fresh = new Map<string, Waiting & { until: number }>();

  constructor(table: LedgerTable, now: () => Date) {
    this.#table = table;
    this.#now = now;
  }

  /** Notes what was made pending. A file whose position is not given comes first: it has waited before. */
  note(file: Pick<FileVersion, 'key' | 'version'>, position = ''): void {
    const now = this.#now().getTime();
    for (const [pk, { until }] of this.#fresh) {
      if (until > now) break; // in the order in which they were added
      this.#fresh.delete(pk);
    }
    const pk = pkOf(file);
    this.#fresh.delete(pk);
    this.#fresh.set(pk, { pk, position, until: now + INDEX_LAG_MS });
  }

  /** The primary keys of what waits in a queue, ordered by position: merges 16 sorted shards, each read only as far as needed. */
  async *in(queue: Queue, limit: number): AsyncGenerator<string> {
    const pageSize = Math.min(Math.ceil(limit / SHARDS) + 8, 1000);
    const shards: AsyncIterator<Waiting>[] = Array.from({ length: SHARDS }, (_, shard) =>
      this.#shard(`${queue}#${shard}`, pageSize),
    );
    if (queue === 'pending') shards.push(freshOnes(this.#fresh));
    const heads = await Promise.all(shards.map((shard) => shard.next()));
    const told = new Set<string>();
    for (;;) {
      let first: { at: number; waiting: Waiting } | null = null;
      for (const [at, head] of heads.entries()) {
        if (head.done !== true && (first === null || inByteOrder(head.value.position, first.waiting.position) < 0))
          first = { at, waiting: head.value };
      }
      const shard = first === null ? undefined : shards[first.at];
      if (first === null || shard === undefined) return;
      if (!told.has(first.waiting.pk)) yield first.waiting.pk;
      told.add(first.waiting.pk);
      heads[first.at] = await shard.next();
    }
  }

  async *#shard(name: string, pageSize: number): AsyncGenerator<Waiting> {
    const pages = paginateQuery(
      { client: this.#table.client, pageSize },
      {
        TableName: this.#table.name,
        IndexName: WAITING_INDEX,
        KeyConditionExpression: 'queue = :queue',
        ExpressionAttributeValues: { ':queue': { S: name } },
        ProjectionExpression: 'pk, #position',
        ExpressionAttributeNames: { '#position': 'position' },
      },
    );
    for await (const { Items = [] } of pages) for (const item of Items) yield waitingItemSchema.parse(item);
  }
}

async function* freshOnes(fresh: ReadonlyMap<string, Waiting>): AsyncGenerator<Waiting> {
  yield* [...fresh.values()].sort((one, other) => inByteOrder(one.position, other.position));
}
