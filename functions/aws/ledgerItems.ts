import { createHash } from 'node:crypto';
import type { AttributeValue } from '@aws-sdk/client-dynamodb';
import { z } from 'zod';
import { landingTableOf } from '../core/catalogFile.ts';
import { CLAIMED_FIRST } from '../core/fileVersions.ts';
import { LANDING_TABLES } from '../core/steps.ts';
import { FILE_FORMATS, FILE_STATES, ledgerFileOf } from '../core/storedFile.ts';
import type { FileVersion, LedgerFile, Memory, NewFile } from '../ports.ts';

/** The items of the ledger table: how file versions, permits and the run lock are stored. ledger.ts says what happens to them. */

export type Item = Record<string, AttributeValue>;

const S = z.object({ S: z.string() }).transform(({ S: text }) => text);
const N = z.object({ N: z.string() }).transform(({ N: digits }) => Number(digits));
const BOOL = z.object({ BOOL: z.boolean() }).transform(({ BOOL: value }) => value);
const list = z.object({ L: z.array(S) }).transform(({ L: texts }) => texts);

export const LOCK = 'lock';
export const PUBLISHED = 'published';
export const MEMORY = 'memory';
export const FILE_PREFIX = 'file#';

/** The index of what waits: a file version has `queue` (partition key) while it is pending or held, and always `position` (sort key). */
export const WAITING_INDEX = 'waiting';
export const SHARDS = 16;
export type Queue = 'pending' | 'held';

/** DynamoDB takes partition keys of up to 2,048 bytes and sort keys of up to 1,024. */
const LONGEST_PK = 2048;
const LONGEST_POSITION = 1024;

/** The primary key of a file version. Version ids contain no number sign, so the last one separates. */
export function pkOf({ key, version }: Pick<FileVersion, 'key' | 'version'>): string {
  const pk = `${FILE_PREFIX}${key}#${version}`;
  return Buffer.byteLength(pk) <= LONGEST_PK ? pk : `${FILE_PREFIX}${hashOf(pk)}`;
}

/** One of 16 partitions of the index, chosen by the key's hash: a single partition would throttle when 10,000 files arrive at once. */
export function queueOf(queue: Queue, pk: string): string {
  return `${queue}#${parseInt(hashOf(pk).slice(0, 8), 16) % SHARDS}`;
}

/**
 * Sorts those of CLAIMED_FIRST before others, then by the time since which a file version waits, then by table, key, version: keys begin with
 * their table, and U+0000 sorts before anything a longer key goes on with.
 */
export function positionOf({ key, version }: Pick<FileVersion, 'key' | 'version'>, since: string): string {
  const position = `${landingTableOf(key) === CLAIMED_FIRST ? 0 : 1}\0${since}\0${key}\0${version}`;
  const bytes = Buffer.from(position);
  if (bytes.length <= LONGEST_POSITION) return position;
  const hash = hashOf(position);
  return `${bytes
    .subarray(0, LONGEST_POSITION - hash.length - 1)
    .toString()
    .replace(/\ufffd+$/, '')}\0${hash}`;
}

/** Compares two positions as DynamoDB sorts them: by their bytes, which is not JavaScript's own order of strings. */
export function inByteOrder(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other));
}

const fileItemSchema = z
  .object({
    landing_table: S.pipe(z.enum(LANDING_TABLES)),
    key: S,
    version: S,
    size: N,
    state: S.pipe(z.enum(FILE_STATES)),
    run_id: S.nullable().default(null),
    attempts: N,
    why: S.nullable().default(null),
    format: S.pipe(z.enum(FILE_FORMATS)),
    unknown_fields: list,
    landed: N.nullable().default(null),
    staged: N.nullable().default(null),
    duplicate: N.nullable().default(null),
    rejected: N.nullable().default(null),
    arrived_at: S,
    retried_at: S.nullable().default(null),
  })
  .transform(ledgerFileOf);

export function fileOf(item: Item): LedgerFile {
  return fileItemSchema.parse(item);
}

/** A file version new to the ledger. */
export function newFileItem(file: NewFile, arrivedAt: string): Item {
  const pk = pkOf(file);
  return {
    pk: { S: pk },
    landing_table: { S: file.table },
    key: { S: file.key },
    version: { S: file.version },
    size: { N: String(file.size) },
    state: { S: 'pending' },
    attempts: { N: '0' },
    format: { S: file.format },
    unknown_fields: fieldList(file.unknownFields),
    arrived_at: { S: arrivedAt },
    queue: { S: queueOf('pending', pk) },
    position: { S: positionOf(file, arrivedAt) },
  };
}

/** A claim moves 99 items in one transaction, which holds 4 MB: of a file with endless made-up fields the first ones are kept. */
const MOST_FIELD_BYTES = 24 * 1024;

export function fieldList(names: readonly string[]): AttributeValue {
  let bytes = 0;
  const kept = names.filter((name) => (bytes += Buffer.byteLength(name) + 3) <= MOST_FIELD_BYTES);
  return { L: kept.map((name) => ({ S: name })) };
}

/** The file versions that a run may take, all written down before the first of them moves. */
export interface Permit {
  pk: string;
  files: string[];
  closed: boolean;
}

const permitItemSchema = z.object({ pk: S, files: list, closed: BOOL.default(false) }).transform((permit): Permit => permit);

export function permitPk(runId: string, number: number): string {
  return `claim#${runId}#${number}`;
}

export function permitOf(item: Item): Permit {
  return permitItemSchema.parse(item);
}

export const lockItemSchema = z.object({ run_id: S.optional(), fence: N, publishing: BOOL.default(false) });
export const publishedItemSchema = z.object({ run_id: S, definition: S });
const memoryItemSchema = z.object({
  tried: S.optional(),
  tried_runs: N.optional(),
  listed_to: S.optional(),
  checking: S.optional(),
  checked: S.optional(),
});

export function memoryOf(item: Item): Memory {
  const { tried, tried_runs: runs, listed_to: listedTo = null, checking = null, checked = null } = memoryItemSchema.parse(item);
  return { tried: tried === undefined || runs === undefined ? null : { definition: tried, runs }, listedTo, checking, checked };
}

export function memoryItem({ tried, listedTo, checking, checked }: Memory): Item {
  return {
    pk: { S: MEMORY },
    ...(tried === null ? {} : { tried: { S: tried.definition }, tried_runs: { N: String(tried.runs) } }),
    ...(listedTo === null ? {} : { listed_to: { S: listedTo } }),
    ...(checking === null ? {} : { checking: { S: checking } }),
    ...(checked === null ? {} : { checked: { S: checked } }),
  };
}

/** What is read from the index. */
export const waitingItemSchema = z.object({ pk: S, position: S });

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}
