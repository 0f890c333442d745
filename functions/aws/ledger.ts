import { paginateScan } from '@aws-sdk/client-dynamodb';
import type { AttributeValue, DynamoDBClient, TransactWriteItem } from '@aws-sdk/client-dynamodb';
import { claimLost, lockLost } from '../core/errors.ts';
import { inOrder } from '../core/fileVersions.ts';
import type { FileVerdict, FileVersion, Ledger, LedgerFile, Lock, Memory, NewFile, PublishedRun } from '../ports.ts';
import {
  FILE_PREFIX,
  fileOf,
  LOCK,
  lockItem,
  MEMORY,
  memoryItem,
  memoryOf,
  newFileItem,
  permitOf,
  permitPk,
  pkOf,
  positionOf,
  PUBLISHED,
  publishedItem,
  queueOf,
  unknownFields,
} from './ledgerItems.ts';
import type { Permit, Queue } from './ledgerItems.ts';
import { WaitingFiles } from './ledgerIndex.ts';
import { BATCH_GET, LedgerTable, TRANSACTION, TRANSACTION_BYTES } from './ledgerTable.ts';
import { chunked, inParallel } from '../core/parallel.ts';

/**
 * The ledger in one DynamoDB table with the primary key `pk`:
 *
 * - `lock`: the run lock. `run_id` and `publishing` stand there while it is held; `fence` stays and grows. Jobs read it too.
 * - `published`: what the lake showed last.
 * - `memory`: what reconcile keeps in mind.
 * - `file#<key>#<version>`: a file version. While it is pending or held it also has `queue`, and so stands in the index `waiting` (ledgerIndex.ts), ordered by `position`.
 * - `claim#<run>#<n>`: a permit, which names up to 99 file versions that a run may take.
 *
 * Every change of state is a write with a condition on the state before.
 *
 * **A claim of 10,000 files is no single write.** Permits are written first, in transactions that check the lock. Then the files move, in
 * parallel, each permit's files in one transaction that checks the permit. So the permits name every file version that the run can have claimed,
 * wherever the process that claimed was killed, and reading them back does not depend on the index. To read a claim back (`claimed`) closes
 * its permits: a Plan that goes on somewhere although its execution was aborted can take nothing that nobody would give back.
 */
export class DynamoLedger implements Ledger {
  readonly #table: LedgerTable;
  readonly #now: () => Date;
  readonly #waiting: WaitingFiles;

  constructor(client: DynamoDBClient, table: string, now: () => Date) {
    this.#table = new LedgerTable(client, table);
    this.#now = now;
    this.#waiting = new WaitingFiles(this.#table, now);
  }

  async register(files: readonly NewFile[]): Promise<number> {
    const arrivedAt = this.#now().toISOString();
    const added = await inParallel(files, async (file) => {
      const item = newFileItem(file, arrivedAt);
      const known = await this.#table.add(item);
      if (known === null || known['state']?.S === 'pending') this.#waiting.note(file, (known ?? item)['position']?.S);
      return known === null;
    });
    return added.filter(Boolean).length;
  }

  async unknown(files: readonly FileVersion[]): Promise<FileVersion[]> {
    // Reads that may be a moment old cost half. A file that is taken for unknown by mistake is registered again, which changes nothing.
    const known = await this.#table.getAll(files.map(pkOf), { consistent: false, keysOnly: true });
    return files.filter((file) => !known.has(pkOf(file)));
  }

  async pending(limit: number): Promise<LedgerFile[]> {
    const waiting = this.#waiting.in('pending', limit);
    const pending: LedgerFile[] = [];
    for (let exhausted = false; !exhausted && pending.length < limit;) {
      const candidates: string[] = [];
      while (!exhausted && candidates.length < limit - pending.length) {
        const next = await waiting.next();
        if (next.done === true) exhausted = true;
        else candidates.push(next.value);
      }
      pending.push(...(await this.#files(candidates)).filter(({ state }) => state === 'pending'));
    }
    return pending;
  }

  /** Reads the whole table; for people who look, not for runs. */
  async *files(): AsyncIterable<LedgerFile> {
    const pages = paginateScan(
      { client: this.#table.client },
      {
        TableName: this.#table.name,
        ConsistentRead: true,
        FilterExpression: 'begins_with(pk, :file)',
        ExpressionAttributeValues: { ':file': { S: FILE_PREFIX } },
      },
    );
    const files: LedgerFile[] = [];
    for await (const { Items = [] } of pages) files.push(...Items.map(fileOf));
    yield* inOrder(files);
  }

  async held(): Promise<LedgerFile[]> {
    const pks: string[] = [];
    for await (const pk of this.#waiting.in('held', Infinity)) pks.push(pk);
    return inOrder((await this.#files(pks)).filter(({ state }) => state === 'held'));
  }

  async lock(): Promise<Lock | null> {
    const item = await this.#table.get(LOCK);
    if (item === undefined) return null;
    const { run_id: runId, fence, publishing } = lockItem.parse(item);
    return runId === undefined ? null : { runId, fence, publishing };
  }

  async takeLock(runId: string): Promise<Lock | null> {
    await this.#table.change(LOCK, {
      expression: 'SET run_id = :run, publishing = :no ADD fence :one REMOVE settled',
      condition: 'attribute_not_exists(run_id)',
      values: { ':run': { S: runId }, ':no': { BOOL: false }, ':one': { N: '1' } },
    });
    // Whoever holds it now; a request that was repeated because its answer was lost finds that it did take it.
    const lock = await this.lock();
    return lock?.runId === runId ? lock : null;
  }

  async freeLock(runId: string, fence: number): Promise<void> {
    await this.#table.change(LOCK, {
      expression: 'REMOVE run_id, publishing, settled',
      condition: 'run_id = :run AND fence = :fence',
      values: { ':run': { S: runId }, ':fence': { N: String(fence) } },
    });
  }

  async markPublishing(runId: string, fence: number): Promise<void> {
    // A run that was settled may not begin any more: its claims are given back.
    const marked = await this.#table.change(LOCK, {
      expression: 'SET publishing = :yes',
      condition: 'run_id = :run AND fence = :fence AND (attribute_not_exists(settled) OR publishing = :yes)',
      values: { ':yes': { BOOL: true }, ':run': { S: runId }, ':fence': { N: String(fence) } },
    });
    if (!marked) throw lockLost(runId);
  }

  async claim(runId: string, fence: number, files: readonly FileVersion[]): Promise<void> {
    const lock = await this.lock();
    if (lock?.runId !== runId || lock.fence !== fence) throw lockLost(runId);
    const permits = await this.#writePermits(runId, fence, files.map(pkOf));
    await inParallel(permits, (permit) => this.#take(runId, permit));
  }

  /** Closes the claim: what it has not moved by now stays where it is. */
  async claimed(runId: string): Promise<LedgerFile[]> {
    const permits = await this.#permits(runId);
    await inParallel(
      permits.filter(({ closed }) => !closed),
      ({ pk }) =>
        this.#table.change(pk, {
          expression: 'SET closed = :yes',
          condition: 'attribute_exists(pk)',
          values: { ':yes': { BOOL: true } },
        }),
    );
    const files = await this.#files([...new Set(permits.flatMap((permit) => permit.files))]);
    return inOrder(files.filter((file) => file.state === 'claimed' && file.runId === runId));
  }

  async settle(runId: string, verdicts: readonly FileVerdict[]): Promise<void> {
    // From here on the run claims nothing more, even while it holds the lock.
    await this.#table.change(LOCK, {
      expression: 'SET settled = :yes',
      condition: 'run_id = :run',
      values: { ':yes': { BOOL: true }, ':run': { S: runId } },
    });
    await inParallel(verdicts, async (verdict) => {
      const moved = await this.#settleFile(runId, verdict);
      if (moved && verdict.state === 'pending') this.#waiting.note(verdict);
    });
    const settled = new Set(verdicts.map(pkOf));
    const permits = await this.#permits(runId);
    if (permits.every(({ files }) => files.every((pk) => settled.has(pk))))
      await this.#table.deleteAll(permits.map(({ pk }) => pk));
  }

  async hold(runId: string, fence: number, unready: readonly { file: FileVersion; why: string }[]): Promise<void> {
    for (const batch of chunked(unready, TRANSACTION - 1)) {
      for (let left = batch; left.length > 0;) {
        const failed = await this.#table.transact([
          this.#checkOpen(runId, fence),
          ...left.map((each) => this.#holding(runId, each)),
        ]);
        if (failed.includes(0)) throw lockLost(runId);
        // Those whose condition did not hold are not pending any more.
        left = failed.length === 0 ? [] : left.filter((_, at) => !failed.includes(at + 1));
      }
    }
  }

  #holding(runId: string, { file, why }: { file: FileVersion; why: string }): TransactWriteItem {
    const pk = pkOf(file);
    return {
      Update: {
        TableName: this.#table.name,
        Key: { pk: { S: pk } },
        UpdateExpression: 'SET #state = :held, run_id = :run, why = :why, queue = :queue',
        ConditionExpression: '#state = :pending',
        ExpressionAttributeNames: { '#state': 'state' },
        ExpressionAttributeValues: {
          ':held': { S: 'held' },
          ':pending': { S: 'pending' },
          ':run': { S: runId },
          ':why': { S: why },
          ':queue': { S: queueOf('held', pk) },
        },
      },
    };
  }

  async retry(which: { keys: readonly string[] } | { runId: string }): Promise<FileVersion[]> {
    const chosen = (await this.held()).filter((file) =>
      'runId' in which ? file.runId === which.runId : which.keys.includes(file.key),
    );
    const retriedAt = this.#now().toISOString();
    const retried = await inParallel(chosen, async (file) => {
      const [pk, position] = [pkOf(file), positionOf(file, retriedAt)];
      const moved = await this.#table.change(pk, {
        expression:
          'SET #state = :pending, attempts = :none, queue = :queue, #position = :position, retried_at = :now REMOVE why',
        condition: '#state = :held',
        names: { '#state': 'state', '#position': 'position' },
        values: {
          ':held': { S: 'held' },
          ':pending': { S: 'pending' },
          ':none': { N: '0' },
          ':now': { S: retriedAt },
          ':queue': { S: queueOf('pending', pk) },
          ':position': { S: position },
        },
      });
      if (moved) this.#waiting.note(file, position);
      return moved ? [file] : [];
    });
    return retried.flat();
  }

  async published(): Promise<PublishedRun | null> {
    const item = await this.#table.get(PUBLISHED);
    if (item === undefined) return null;
    const { run_id: runId, definition } = publishedItem.parse(item);
    return { runId, definition };
  }

  async setPublished({ runId, definition }: PublishedRun): Promise<void> {
    await this.#table.put({ pk: { S: PUBLISHED }, run_id: { S: runId }, definition: { S: definition } });
  }

  async memory(): Promise<Memory> {
    return memoryOf((await this.#table.get(MEMORY)) ?? {});
  }

  async remember(memory: Memory): Promise<void> {
    await this.#table.put(memoryItem(memory));
  }

  // Files

  async #files(pks: readonly string[]): Promise<LedgerFile[]> {
    const items = await this.#table.getAll(pks, { consistent: true, keysOnly: false });
    return pks.flatMap((pk) => {
      const item = items.get(pk);
      return item === undefined ? [] : [fileOf(item)];
    });
  }

  async #settleFile(runId: string, verdict: FileVerdict): Promise<boolean> {
    const pk = pkOf(verdict);
    const { state, attempts, why, counts, unknownFields: fields } = verdict;
    const waits: Queue | null = state === 'loaded' ? null : state;
    const { expression, names, values } = assignments({
      state: { S: state },
      attempts: { N: String(attempts) },
      why: why === null ? null : { S: why },
      landed: counts === null ? null : { N: String(counts.landed) },
      staged: counts === null ? null : { N: String(counts.staged) },
      duplicate: counts === null ? null : { N: String(counts.duplicate) },
      rejected: counts === null ? null : { N: String(counts.rejected) },
      queue: waits === null ? null : { S: queueOf(waits, pk) },
      ...(fields === null ? {} : { unknown_fields: unknownFields(fields) }),
    });
    return this.#table.change(pk, {
      expression,
      condition: '#state = :claimed AND run_id = :run',
      names,
      values: { ...values, ':claimed': { S: 'claimed' }, ':run': { S: runId } },
    });
  }

  // Permits

  /** Writes down what the run may take. Permits are numbered without a gap, and one that is there is never changed. */
  async #writePermits(runId: string, fence: number, pks: readonly string[]): Promise<Permit[]> {
    const written: Permit[] = [];
    const left = chunked(pks, TRANSACTION - 1);
    while (left.length > 0) {
      const from = (await this.#permits(runId)).length;
      const group = left.splice(0, fitting(left)).map((files, at) => ({ pk: permitPk(runId, from + at), files, closed: false }));
      const failed = await this.#table.transact([
        this.#checkOpen(runId, fence),
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

  /** That the run holds the lock, and was not settled. */
  #checkOpen(runId: string, fence: number): TransactWriteItem {
    return {
      ConditionCheck: {
        TableName: this.#table.name,
        Key: { pk: { S: LOCK } },
        ConditionExpression: 'run_id = :run AND fence = :fence AND attribute_not_exists(settled)',
        ExpressionAttributeValues: { ':run': { S: runId }, ':fence': { N: String(fence) } },
      },
    };
  }

  /** Moves the files of one permit, all or none. Those that this run has already may be among them. */
  async #take(runId: string, permit: Permit): Promise<void> {
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

  /** All permits of a run, in their order. */
  async #permits(runId: string): Promise<Permit[]> {
    const permits: Permit[] = [];
    for (;;) {
      const pks = Array.from({ length: permits.length === 0 ? 8 : BATCH_GET }, (_, at) => permitPk(runId, permits.length + at));
      const items = await this.#table.getAll(pks, { consistent: true, keysOnly: false });
      permits.push(
        ...pks.flatMap((pk) => {
          const item = items.get(pk);
          return item === undefined ? [] : [permitOf(item)];
        }),
      );
      if (items.size < pks.length) return permits;
    }
  }
}

/** How many of these permits fit into one transaction, the check of the lock besides; at least one. */
function fitting(permits: readonly (readonly string[])[]): number {
  let bytes = 0;
  const over = permits.findIndex(
    (files) => (bytes += files.reduce((sum, pk) => sum + Buffer.byteLength(pk) + 3, 100)) > TRANSACTION_BYTES,
  );
  return Math.max(Math.min(over === -1 ? permits.length : over, TRANSACTION - 1), 1);
}

/** `SET a = :a REMOVE b` for values and nulls. */
function assignments(changes: Readonly<Record<string, AttributeValue | null>>) {
  const set = Object.entries(changes).flatMap(([name, value]) => (value === null ? [] : [[name, value] as const]));
  const removed = Object.entries(changes).flatMap(([name, value]) => (value === null ? [name] : []));
  const clauses = [`SET ${set.map(([name]) => `#${name} = :${name}`).join(', ')}`];
  if (removed.length > 0) clauses.push(`REMOVE ${removed.map((name) => `#${name}`).join(', ')}`);
  return {
    expression: clauses.join(' '),
    names: Object.fromEntries(Object.keys(changes).map((name) => [`#${name}`, name])),
    values: Object.fromEntries(set.map(([name, value]) => [`:${name}`, value])),
  };
}
