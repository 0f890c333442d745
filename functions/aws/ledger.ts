import { paginateScan } from '@aws-sdk/client-dynamodb';
import type { AttributeValue, DynamoDBClient, TransactWriteItem } from '@aws-sdk/client-dynamodb';
import { lockLost } from '../core/errors.ts';
import { inOrder } from '../core/fileVersions.ts';
import type { FileVerdict, FileVersion, Ledger, LedgerFile, Lock, Memory, NewFile, PublishedRun } from '../ports.ts';
import {
  FILE_PREFIX,
  fileOf,
  LOCK,
  lockItemSchema,
  MEMORY,
  memoryItem,
  memoryOf,
  newFileItem,
  pkOf,
  positionOf,
  PUBLISHED,
  publishedItemSchema,
  queueOf,
  fieldList,
} from './ledgerItems.ts';
import type { Queue } from './ledgerItems.ts';
import { WaitingFiles } from './ledgerIndex.ts';
import { checkOpen, Permits } from './ledgerPermits.ts';
import { LedgerTable, TRANSACTION } from './ledgerTable.ts';
import { chunked, inParallel } from '../core/parallel.ts';

/**
 * The ledger in one DynamoDB table with the primary key `pk`:
 *
 * - `lock`: the run lock. It has `run_id` and `publishing` while it is held; `fence` stays and grows. Jobs read it too.
 * - `published`: what the lake showed last.
 * - `memory`: what reconcile remembers.
 * - `file#<key>#<version>`: a file version. While pending or held it also has `queue`, and so is in the index `waiting` (ledgerIndex.ts), ordered by `position`.
 * - `claim#<run>#<n>`: a permit, which names up to 99 file versions that a run may take (ledgerPermits.ts).
 *
 * Every change of state is a write conditional on the state before.
 */
export class DynamoLedger implements Ledger {
  readonly #table: LedgerTable;
  readonly #now: () => Date;
  readonly #waiting: WaitingFiles;
  readonly #permits: Permits;

  constructor(client: DynamoDBClient, table: string, now: () => Date) {
    this.#table = new LedgerTable(client, table);
    this.#now = now;
    this.#waiting = new WaitingFiles(this.#table, now);
    this.#permits = new Permits(this.#table);
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
    // A file taken for unknown by mistake is registered again, which changes nothing.
    const known = await this.#table.getAll(files.map(pkOf), { keysOnly: true });
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

  /** Reads the whole table; meant for people, not for runs. */
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
    const { run_id: runId, fence, publishing } = lockItemSchema.parse(item);
    return runId === undefined ? null : { runId, fence, publishing };
  }

  async takeLock(runId: string): Promise<Lock | null> {
    await this.#table.change(LOCK, {
      expression: 'SET run_id = :run, publishing = :no ADD fence :one REMOVE settled',
      condition: 'attribute_not_exists(run_id)',
      values: { ':run': { S: runId }, ':no': { BOOL: false }, ':one': { N: '1' } },
    });
    // Who holds it now: a request that was repeated because its answer was lost finds that it did take it.
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
    // A run that was settled may no longer begin to publish: its claims are given back.
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
    const permits = await this.#permits.write(runId, fence, files.map(pkOf));
    await inParallel(permits, (permit) => this.#permits.take(runId, permit));
  }

  /** Closes the claim: files it has not moved by now stay where they are. */
  async claimed(runId: string): Promise<LedgerFile[]> {
    const permits = await this.#permits.of(runId);
    await this.#permits.close(permits);
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
    const permits = await this.#permits.of(runId);
    if (permits.every(({ files }) => files.every((pk) => settled.has(pk)))) await this.#permits.delete(permits);
  }

  async hold(runId: string, fence: number, unready: readonly { file: FileVersion; why: string }[]): Promise<void> {
    for (const batch of chunked(unready, TRANSACTION - 1)) {
      for (let left = batch; left.length > 0;) {
        const failed = await this.#table.transact([
          checkOpen(this.#table.name, runId, fence),
          ...left.map((each) => this.#holding(runId, each)),
        ]);
        if (failed.includes(0)) throw lockLost(runId);
        // Files whose condition did not hold are no longer pending.
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
    const { run_id: runId, definition } = publishedItemSchema.parse(item);
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
    const items = await this.#table.getAll(pks);
    return pks.flatMap((pk) => {
      const item = items.get(pk);
      return item === undefined ? [] : [fileOf(item)];
    });
  }

  async #settleFile(runId: string, verdict: FileVerdict): Promise<boolean> {
    const pk = pkOf(verdict);
    const { state, attempts, why, counts, unknownFields } = verdict;
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
      ...(unknownFields === null ? {} : { unknown_fields: fieldList(unknownFields) }),
    });
    return this.#table.change(pk, {
      expression,
      condition: '#state = :claimed AND run_id = :run',
      names,
      values: { ...values, ':claimed': { S: 'claimed' }, ':run': { S: runId } },
    });
  }
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
