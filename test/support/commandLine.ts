import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { openSession } from '../../local/duckdb/session.ts';
import { lakePaths } from '../../local/lakePaths.ts';
import type { Ended } from './lake.ts';
import { AT, CONSENT, motion, walk } from './people.ts';

export const PEOPLE = [{ email: 'ann@x.org', shares: CONSENT }, { email: 'ben@x.org' }];
export const BAD_MOTION = motion('ann@x.org', AT + 5).replace('"x":1', '"x":"left"');

/** Puts two people's files into a folder, as somebody would have them; one record breaks its contract. */
export function sourceFolder(source: string): string {
  for (const [key, text] of Object.entries(walk(PEOPLE))) {
    const file = path.join(source, key);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, key.startsWith('accelerometer') ? `${text}${BAD_MOTION}\n` : text);
  }
  return source;
}

/** Changes tables behind the product's back. */
export async function alter(scratch: string, lake: string, sql: string): Promise<void> {
  const session = await openSession(lakePaths(lake).tables, scratch);
  await session.connection.run(sql);
  session.close();
}

/** Standard output, parsed as its one JSON value. */
export function valueOf<T>({ stdout, code, stderr }: Ended, schema: z.ZodType<T>, exitCode = 0): T {
  expect({ code, stderr: code === exitCode ? '' : stderr }).toEqual({ code: exitCode, stderr: '' });
  return schema.parse(JSON.parse(stdout));
}

/** A run as `runs --json` prints it. */
export const runRow = z.strictObject({
  runId: z.string(),
  status: z.enum(['SUCCEEDED', 'FAILED', 'ABORTED', 'RUNNING']),
  startedAt: z.iso.datetime(),
  endedAt: z.iso.datetime().nullable(),
  seconds: z.number().nullable(),
  files: z.int().nullable(),
  rows: z.int().nullable(),
  error: z.string().nullable(),
});

/** A file version as `files --json` prints it. */
export const fileRow = z.looseObject({
  table: z.string(),
  key: z.string(),
  version: z.string(),
  state: z.enum(['pending', 'claimed', 'loaded', 'held']),
  runId: z.string().nullable(),
  why: z.string().nullable(),
  counts: z.strictObject({ landed: z.int(), staged: z.int(), duplicate: z.int(), rejected: z.int() }).nullable(),
});
