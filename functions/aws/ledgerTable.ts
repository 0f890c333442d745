import {
  BatchGetItemCommand,
  BatchWriteItemCommand,
  ConditionalCheckFailedException,
  GetItemCommand,
  PutItemCommand,
  TransactionCanceledException,
  TransactionConflictException,
  TransactionInProgressException,
  TransactWriteItemsCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import type { AttributeValue, DynamoDBClient, TransactWriteItem, WriteRequest } from '@aws-sdk/client-dynamodb';
import type { Item } from './ledgerItems.ts';
import { chunked, inParallel } from '../core/parallel.ts';
import { untilDone } from './untilDone.ts';

/** How many keys BatchGetItem takes. */
export const BATCH_GET = 100;
/** How many items BatchWriteItem takes. */
const BATCH_WRITE = 25;

/** How many actions a transaction takes. */
export const TRANSACTION = 100;
/** How many bytes a transaction may hold, a quarter below DynamoDB's limit: the overhead around keys and values counts too. */
export const TRANSACTION_BYTES = 3_000_000;

/** Why a transaction may be cancelled although it will go through in a moment. */
const PASSING: ReadonlySet<string> = new Set(['TransactionConflict', 'ThrottlingError', 'ProvisionedThroughputExceeded']);

/** Reads and conditional writes of items by primary key, repeated when DynamoDB refuses for the moment or does only part of them. */
export class LedgerTable {
  readonly client: DynamoDBClient;
  readonly name: string;

  constructor(client: DynamoDBClient, name: string) {
    this.client = client;
    this.name = name;
  }

  /** Undefined if there is no such item. */
  async get(pk: string): Promise<Item | undefined> {
    const { Item } = await this.client.send(
      new GetItemCommand({ TableName: this.name, Key: { pk: { S: pk } }, ConsistentRead: true }),
    );
    return Item;
  }

  /**
   * The items that exist, by primary key. Keys that DynamoDB leaves unprocessed are requested again. With `keysOnly` the items hold nothing else, and
   * the read is eventually consistent, which costs half.
   */
  async getAll(pks: readonly string[], { keysOnly = false } = {}): Promise<Map<string, Item>> {
    const found = new Map<string, Item>();
    await inParallel(chunked([...new Set(pks)], BATCH_GET), async (batch) => {
      let left = batch.map((pk): Item => ({ pk: { S: pk } }));
      await untilDone('reading the ledger', async () => {
        const request = { Keys: left, ConsistentRead: !keysOnly, ...(keysOnly ? { ProjectionExpression: 'pk' } : {}) };
        const { Responses, UnprocessedKeys } = await this.client.send(
          new BatchGetItemCommand({ RequestItems: { [this.name]: request } }),
        );
        for (const item of Responses?.[this.name] ?? []) found.set(item['pk']?.S ?? '', item);
        left = UnprocessedKeys?.[this.name]?.Keys ?? [];
        return left.length === 0;
      });
    });
    return found;
  }

  /** Deletes items, whether they exist or not. */
  async deleteAll(pks: readonly string[]): Promise<void> {
    await inParallel(chunked(pks, BATCH_WRITE), async (batch) => {
      let left: WriteRequest[] = batch.map((pk) => ({ DeleteRequest: { Key: { pk: { S: pk } } } }));
      await untilDone('deleting from the ledger', async () => {
        const { UnprocessedItems } = await this.client.send(new BatchWriteItemCommand({ RequestItems: { [this.name]: left } }));
        left = UnprocessedItems?.[this.name] ?? [];
        return left.length === 0;
      });
    });
  }

  /** One conditional change; false if the condition did not hold. */
  async change(
    pk: string,
    {
      expression,
      condition,
      names,
      values,
    }: { expression: string; condition: string; names?: Record<string, string>; values: Record<string, AttributeValue> },
  ): Promise<boolean> {
    try {
      await pastTransactions(() =>
        this.client.send(
          new UpdateItemCommand({
            TableName: this.name,
            Key: { pk: { S: pk } },
            UpdateExpression: expression,
            ConditionExpression: condition,
            ExpressionAttributeNames: names,
            ExpressionAttributeValues: values,
          }),
        ),
      );
      return true;
    } catch (error) {
      if (error instanceof ConditionalCheckFailedException) return false;
      throw error;
    }
  }

  /** All or nothing. Returns which actions' conditions did not hold; a conflict with another writer, or throttling, is tried again. */
  async transact(actions: readonly TransactWriteItem[]): Promise<number[]> {
    let failed: number[] = [];
    await untilDone('a transaction on the ledger', async () => {
      try {
        await this.client.send(new TransactWriteItemsCommand({ TransactItems: [...actions] }));
        return true;
      } catch (error) {
        if (error instanceof TransactionInProgressException) return false;
        if (!(error instanceof TransactionCanceledException)) throw error;
        const codes = (error.CancellationReasons ?? []).map(({ Code }) => Code ?? 'None');
        failed = codes.flatMap((code, at) => (code === 'ConditionalCheckFailed' ? [at] : []));
        if (failed.length > 0) return true;
        if (codes.some((code) => PASSING.has(code))) return false;
        throw error;
      }
    });
    return failed;
  }

  /** Null if the item was added; otherwise the existing one, which stays. */
  async add(item: Item): Promise<Item | null> {
    try {
      await pastTransactions(() =>
        this.client.send(
          new PutItemCommand({
            TableName: this.name,
            Item: item,
            ConditionExpression: 'attribute_not_exists(pk)',
            ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
          }),
        ),
      );
      return null;
    } catch (error) {
      if (error instanceof ConditionalCheckFailedException) return error.Item ?? {};
      throw error;
    }
  }

  /** Writes an item, replacing any that is there. */
  async put(item: Item): Promise<void> {
    await this.client.send(new PutItemCommand({ TableName: this.name, Item: item }));
  }
}

/** Repeats the write of one item, which DynamoDB refuses while a transaction is working on that item. */
async function pastTransactions(write: () => Promise<unknown>): Promise<void> {
  await untilDone('a write to the ledger', async () => {
    try {
      await write();
      return true;
    } catch (error) {
      if (error instanceof TransactionConflictException) return false;
      throw error;
    }
  });
}
