import {
  DescribeTableCommand,
  DynamoDBClient,
  ScanCommand,
  TransactionCanceledException,
  TransactionConflictException,
} from '@aws-sdk/client-dynamodb';
import type { BatchGetItemInput, BatchGetItemOutput, BatchWriteItemInput, BatchWriteItemOutput } from '@aws-sdk/client-dynamodb';
import { DynamoLedger } from '../../../functions/aws/ledger.ts';
import type { FileVerdict, LedgerFile, NewFile } from '../../../functions/ports.ts';
import { collected } from '../../support/collected.ts';
import { emulatorOfTests, newLedgerTable } from './benches.ts';
import { failing, standingBefore, throttled } from './trouble.ts';

const emulator = emulatorOfTests();

/** A ledger, another process's view of it, and the clients of both. */
async function open() {
  const table = await newLedgerTable(emulator());
  const [client, otherClient] = [new DynamoDBClient(emulator().client), new DynamoDBClient(emulator().client)];
  return {
    table,
    client,
    otherClient,
    ledger: new DynamoLedger(client, table, () => new Date()),
    other: new DynamoLedger(otherClient, table, () => new Date()),
  };
}

type Opened = Awaited<ReturnType<typeof open>>;

function files(count: number, name = 'file'): NewFile[] {
  return Array.from({ length: count }, (_, at) => file(`${name}-${String(at).padStart(5, '0')}.json`));
}

function file(name: string, version = 'v1'): NewFile {
  return { table: 'customer_landing', key: `customer_landing/${name}`, version, size: 10, format: 'json', unknownFields: [] };
}

function loaded(claim: readonly NewFile[]): FileVerdict[] {
  return claim.map(({ key, version }) => ({
    key,
    version,
    state: 'loaded',
    attempts: 0,
    why: null,
    counts: null,
    unknownFields: null,
  }));
}

async function registeredWithLock(
  { ledger }: Pick<Opened, 'ledger'>,
  list: readonly NewFile[],
  runId = 'run-1',
): Promise<number> {
  await ledger.register(list);
  const lock = await ledger.takeLock(runId);
  if (lock === null) throw new Error(`${runId} did not get the lock`);
  return lock.fence;
}

async function states({ other }: Opened): Promise<Record<string, number>> {
  const all = await collected(other.files());
  const counts = new Map<string, number>();
  for (const { state, runId } of all) {
    const name = state === 'claimed' ? `claimed by ${runId}` : state;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return Object.fromEntries(counts);
}

async function primaryKeys({ otherClient, table }: Opened): Promise<string[]> {
  const { Items = [] } = await otherClient.send(new ScanCommand({ TableName: table, ConsistentRead: true }));
  return Items.map((item) => item['pk']?.S ?? '').sort();
}

describe('two at the same time', () => {
  test('two Plans of one run claim everything between them, and nothing is claimed without being written down', async () => {
    const opened = await open();
    const list = files(450);
    const fence = await registeredWithLock(opened, list);
    await Promise.all([
      opened.ledger.claim('run-1', fence, list.slice(0, 300)),
      opened.other.claim('run-1', fence, list.slice(150)),
    ]);
    expect(await opened.ledger.claimed('run-1')).toHaveLength(450);
    expect(await states(opened)).toEqual({ 'claimed by run-1': 450 });
  });

  test('of two runs that claim the same files one gets them; the other gives up without having taken any', async () => {
    const opened = await open();
    const list = files(30);
    const fence = await registeredWithLock(opened, list);
    await opened.ledger.claim('run-1', fence, list);
    await opened.ledger.freeLock('run-1', fence);
    await opened.other.register(files(30, 'more'));
    const next = await opened.other.takeLock('run-2');
    const claim = opened.other.claim('run-2', next?.fence ?? 0, [...files(30, 'more'), ...list.slice(29)]);
    await expect(claim).rejects.toThrow(/file-00029.*another run has claimed it/);
    expect(await states(opened)).toEqual({ 'claimed by run-1': 30, pending: 30 });
  });

  test('one of twenty that register a file adds it', async () => {
    const { ledger, other } = await open();
    const added = await Promise.all(Array.from({ length: 20 }, (_, at) => (at % 2 === 0 ? ledger : other).register([file('a')])));
    expect(added.filter((count) => count === 1)).toHaveLength(1);
  });
});

describe('a claim that is cut off', () => {
  const killed = () => Object.assign(new Error('killed'), { name: 'Killed' });

  test('before its first file moved leaves everything pending, and is made again', async () => {
    const opened = await open();
    const list = files(250);
    const fence = await registeredWithLock(opened, list);
    let calls = 0;
    standingBefore(opened.client, 'TransactWriteItemsCommand', async (input, send) => {
      if ((calls += 1) > 1) throw killed(); // the permits are written, and then it is gone
      return send(input);
    });
    await expect(opened.ledger.claim('run-1', fence, list)).rejects.toThrow('killed');
    expect(await opened.other.claimed('run-1')).toEqual([]);
    expect(await states(opened)).toEqual({ pending: 250 });
    await opened.other.claim('run-1', fence, [...list, ...files(0)]);
    expect(await opened.other.claimed('run-1')).toHaveLength(250);
  });

  test('half way is read back as far as it came, and all of it can be settled', async () => {
    const opened = await open();
    const list = files(250);
    const fence = await registeredWithLock(opened, list);
    let calls = 0;
    standingBefore(opened.client, 'TransactWriteItemsCommand', async (input, send) => {
      if ((calls += 1) > 2) throw killed();
      return send(input);
    });
    await expect(opened.ledger.claim('run-1', fence, list)).rejects.toThrow('killed');
    const claimed = await opened.other.claimed('run-1');
    expect(claimed).toHaveLength(99);
    expect(await states(opened)).toEqual({ 'claimed by run-1': 99, pending: 151 });
    await opened.other.settle(
      'run-1',
      claimed.map(({ key, version }) => ({
        key,
        version,
        state: 'pending',
        attempts: 1,
        why: null,
        counts: null,
        unknownFields: null,
      })),
    );
    expect(await states(opened)).toEqual({ pending: 250 });
  });

  test('takes nothing any more once somebody has read it back: an aborted execution’s Plan may still be working', async () => {
    const opened = await open();
    const list = files(250);
    const fence = await registeredWithLock(opened, list);
    let calls = 0;
    const looked: Promise<LedgerFile[]>[] = []; // reconcile looks while no file has moved yet
    standingBefore(opened.client, 'TransactWriteItemsCommand', async (input, send) => {
      if ((calls += 1) === 2) looked.push(opened.other.claimed('run-1'));
      await Promise.all(looked);
      return send(input);
    });
    await expect(opened.ledger.claim('run-1', fence, list)).rejects.toMatchObject({ name: 'LockLostError' });
    expect(await Promise.all(looked)).toEqual([[]]);
    expect(await states(opened)).toEqual({ pending: 250 });
  });

  test('claims and holds nothing, and begins no publish, for a run that was settled, although it holds the lock still', async () => {
    const opened = await open();
    const fence = await registeredWithLock(opened, files(5));
    await opened.other.settle('run-1', []);
    await expect(opened.ledger.claim('run-1', fence, files(5))).rejects.toMatchObject({ name: 'LockLostError' });
    const unready = files(5).map((file) => ({ file, why: 'gone' }));
    await expect(opened.ledger.hold('run-1', fence, unready)).rejects.toMatchObject({ name: 'LockLostError' });
    await expect(opened.ledger.markPublishing('run-1', fence)).rejects.toMatchObject({ name: 'LockLostError' });
    await opened.other.freeLock('run-1', fence);
    const next = await opened.other.takeLock('run-2');
    await opened.other.claim('run-2', next?.fence ?? 0, files(5));
    expect(await states(opened)).toEqual({ 'claimed by run-2': 5 });
  });

  test('leaves nothing of itself in the table once it is settled', async () => {
    const opened = await open();
    const list = files(250);
    const fence = await registeredWithLock(opened, list);
    await opened.ledger.claim('run-1', fence, list);
    expect((await primaryKeys(opened)).filter((pk) => pk.startsWith('claim#'))).toEqual([
      'claim#run-1#0',
      'claim#run-1#1',
      'claim#run-1#2',
    ]);
    await opened.ledger.settle('run-1', loaded(list));
    expect((await primaryKeys(opened)).filter((pk) => !pk.startsWith('file#'))).toEqual(['lock']);
    expect(await states(opened)).toEqual({ loaded: 250 });
  });
});

describe('throttling and failures in part', () => {
  const COMMANDS = [
    'PutItemCommand',
    'UpdateItemCommand',
    'BatchGetItemCommand',
    'TransactWriteItemsCommand',
    'QueryCommand',
    'GetItemCommand',
  ];

  test('each kind of request is repeated until it is through', async () => {
    const opened = await open();
    const troubles = COMMANDS.map((command) => failing(opened.client, [command], 2, throttled));
    const list = files(40);
    const fence = await registeredWithLock(opened, list);
    expect(await opened.ledger.pending(100)).toHaveLength(40);
    await opened.ledger.claim('run-1', fence, list);
    await opened.ledger.settle('run-1', loaded(list));
    expect(await states(opened)).toEqual({ loaded: 40 });
    expect(troubles.map(({ left }) => left)).toEqual(COMMANDS.map(() => 0));
  });

  test('what does not pass is thrown, and what was not written is still to be done', async () => {
    const opened = await open();
    const list = files(40);
    const fence = await registeredWithLock(opened, list);
    const trouble = failing(opened.client, ['TransactWriteItemsCommand'], Infinity, throttled);
    await expect(opened.ledger.claim('run-1', fence, list)).rejects.toMatchObject({ name: 'ThrottlingException' });
    expect(trouble.met).toBeGreaterThan(2);
    expect(await states(opened)).toEqual({ pending: 40 });
  });

  test('a transaction that met another writer is tried again', async () => {
    const opened = await open();
    const list = files(120);
    const fence = await registeredWithLock(opened, list);
    const conflict = () =>
      new TransactionCanceledException({
        message: 'Transaction cancelled',
        $metadata: { httpStatusCode: 400 },
        CancellationReasons: [{ Code: 'None' }, { Code: 'TransactionConflict' }, { Code: 'ThrottlingError' }],
      });
    const trouble = failing(opened.client, ['TransactWriteItemsCommand'], 4, conflict);
    await opened.ledger.claim('run-1', fence, list);
    expect(trouble.left).toBe(0);
    expect(await opened.ledger.claimed('run-1')).toHaveLength(120);
  });

  test('a write that met a transaction with the same item is tried again', async () => {
    const opened = await open();
    const conflict = () =>
      new TransactionConflictException({ message: 'Transaction is ongoing', $metadata: { httpStatusCode: 400 } });
    const troubles = ['PutItemCommand', 'UpdateItemCommand'].map((command) => failing(opened.client, [command], 3, conflict));
    await registeredWithLock(opened, [file('a')]);
    expect(await opened.other.lock()).toMatchObject({ runId: 'run-1' });
    expect(await states(opened)).toEqual({ pending: 1 });
    expect(await opened.ledger.register([file('a')])).toBe(0);
    expect(troubles.map(({ left }) => left)).toEqual([0, 0]);
  });

  test('keys and items that DynamoDB leaves unprocessed are asked for and deleted again', async () => {
    const opened = await open();
    const { table } = opened;
    let [reads, writes] = [0, 0];
    standingBefore(opened.client, 'BatchGetItemCommand', async (input, send) => {
      const { RequestItems } = input as BatchGetItemInput;
      const { Keys = [], ...request } = RequestItems?.[table] ?? { Keys: [] };
      const taken = Math.ceil(Keys.length / 2);
      reads += 1;
      const output = (await send({
        RequestItems: { [table]: { ...request, Keys: Keys.slice(0, taken) } },
      })) as BatchGetItemOutput;
      return {
        ...output,
        $metadata: {},
        UnprocessedKeys: taken < Keys.length ? { [table]: { ...request, Keys: Keys.slice(taken) } } : {},
      };
    });
    standingBefore(opened.client, 'BatchWriteItemCommand', async (input, send) => {
      const requests = (input as BatchWriteItemInput).RequestItems?.[table] ?? [];
      writes += 1;
      const output = (await send({ RequestItems: { [table]: requests.slice(0, 1) } })) as BatchWriteItemOutput;
      return { ...output, $metadata: {}, UnprocessedItems: requests.length > 1 ? { [table]: requests.slice(1) } : {} };
    });
    const list = files(250);
    const fence = await registeredWithLock(opened, list);
    expect(await opened.ledger.unknown([...list, file('new')])).toEqual([file('new')]);
    expect(await opened.ledger.pending(1000)).toHaveLength(250);
    await opened.ledger.claim('run-1', fence, list);
    expect(await opened.ledger.claimed('run-1')).toHaveLength(250);
    await opened.ledger.settle('run-1', loaded(list));
    expect(await primaryKeys(opened)).not.toContain('claim#run-1#2');
    expect(reads).toBeGreaterThan(10);
    expect(writes).toBe(3);
  });

  test('what is never processed is an error, not a shorter answer', async () => {
    const opened = await open();
    await opened.ledger.register(files(3));
    standingBefore(opened.client, 'BatchGetItemCommand', async (input) => ({
      $metadata: {},
      Responses: {},
      UnprocessedKeys: (input as BatchGetItemInput).RequestItems,
    }));
    await expect(opened.ledger.unknown(files(3))).rejects.toThrow(/reading the ledger: refused 12 times/);
  });
});

describe('the index lags', () => {
  /** The index knows nothing of the last moments. */
  function blind(client: DynamoDBClient): void {
    standingBefore(client, 'QueryCommand', async () => ({ $metadata: {}, Items: [] }));
  }

  test('what this process has just made pending is pending, in its order and once', async () => {
    const opened = await open();
    await opened.other.register([file('b')]);
    await opened.ledger.register([file('c'), file('a')]);
    expect((await opened.ledger.pending(10)).map(({ key }) => key)).toEqual(
      ['b', 'a', 'c'].map((name) => `customer_landing/${name}`),
    );
    blind(opened.client);
    expect((await opened.ledger.pending(1)).map(({ key }) => key)).toEqual(['customer_landing/a']);
    expect(await opened.ledger.pending(10)).toHaveLength(2);
  });

  test('what was given back by a settled run, or retried, is pending at once', async () => {
    const opened = await open();
    const fence = await registeredWithLock(opened, [file('a'), file('b')]);
    await opened.ledger.claim('run-1', fence, [file('a'), file('b')]);
    const back = { attempts: 0, counts: null, unknownFields: null, version: 'v1' };
    await opened.other.settle('run-1', [
      { ...back, key: 'customer_landing/a', state: 'pending', why: null },
      { ...back, key: 'customer_landing/b', state: 'held', why: 'rejects' },
    ]);
    await opened.other.retry({ keys: ['customer_landing/b'] });
    blind(opened.otherClient);
    expect(await opened.other.pending(10)).toHaveLength(2);
  });

  test('what it still shows although it is claimed is not pending, and what stands behind it is found', async () => {
    const opened = await open();
    const list = files(60);
    const fence = await registeredWithLock(opened, list);
    await opened.ledger.claim('run-1', fence, list.slice(0, 59));
    const stale = new DynamoDBClient(emulator().client);
    const shown = list.map(({ key, version }) => ({
      pk: { S: `file#${key}#${version}` },
      position: { S: `${key}\0${version}` },
    }));
    let asked = 0;
    standingBefore(stale, 'QueryCommand', async () => ({ $metadata: {}, Items: (asked += 1) === 1 ? shown : [] }));
    const ledger = new DynamoLedger(stale, opened.table, () => new Date());
    expect((await ledger.pending(1)).map(({ key }) => key)).toEqual([list[59]?.key]);
  });
});

describe('the table', () => {
  test('keys and versions as long as S3 allows have a record, and pend', async () => {
    const { ledger } = await open();
    const long = file(`${'é'.repeat(500)}.json`, 'v'.repeat(1024));
    const other = { ...long, version: 'w'.repeat(1024) };
    expect(await ledger.register([long, other])).toBe(2);
    expect((await ledger.pending(10)).map(({ version }) => version[0]).sort()).toEqual(['v', 'w']);
    expect(await ledger.unknown([long, other])).toEqual([]);
  });

  test('a file with no end of unknown fields has a record, with the first of them', async () => {
    const { ledger } = await open();
    const unknownFields = Array.from({ length: 100_000 }, (_, at) => `field ${at}`);
    await ledger.register([{ ...file('a'), unknownFields }]);
    const [record] = await ledger.pending(1);
    expect(record?.unknownFields.length).toBeGreaterThan(1000);
    expect(record?.unknownFields[0]).toBe('field 0');
  });

  test('what waits is spread over the partitions of the index', async () => {
    const { ledger, client, table } = await open();
    await ledger.register(files(200));
    const { Items = [] } = await client.send(new ScanCommand({ TableName: table, IndexName: 'waiting' }));
    expect(new Set(Items.map((item) => item['queue']?.S)).size).toBe(16);
    const { Table } = await client.send(new DescribeTableCommand({ TableName: table }));
    expect(Table?.GlobalSecondaryIndexes).toHaveLength(1);
  });

  test('a file that waits no more leaves the index', async () => {
    const opened = await open();
    const fence = await registeredWithLock(opened, files(20));
    await opened.ledger.claim('run-1', fence, files(20));
    const { Count } = await opened.client.send(new ScanCommand({ TableName: opened.table, IndexName: 'waiting' }));
    expect(Count).toBe(0);
  });
});
