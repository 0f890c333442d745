import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { contractOf } from '../../functions/core/contracts.ts';
import { LANDING_TABLES, PUBLISHED_TABLES } from '../../functions/core/steps.ts';
import type { PublishedTable } from '../../functions/core/steps.ts';
import { openSession, rowsOf } from '../../local/duckdb/session.ts';
import { lakePaths } from '../../local/lakePaths.ts';
import type { CommandContext, CommonOptions } from '../../local/lake.ts';
import { run } from '../../local/commands/run.ts';
import { sorted } from '../reference/index.ts';
import type { Row } from '../reference/index.ts';
import { collected } from './collected.ts';
import { rowsOfTable } from './tables.ts';

// Lakes

/** Writes files into a lake's landing folder, by key. They look unchanged for a minute, so that a run need not wait. */
export function landAll(lake: string, files: Readonly<Record<string, string | Uint8Array>>): void {
  for (const [key, content] of Object.entries(files)) {
    const file = path.join(lakePaths(lake).landing, ...key.split('/'));
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, content);
    const before = Date.now() / 1000 - 60;
    utimesSync(file, before, before);
  }
}

/** Every published table as sorted row texts, without the run that loaded a row: run names differ each time. */
export async function dump(lake: string): Promise<Record<PublishedTable, string[]>> {
  return reading(lake, async (connection) => {
    const tables: [string, string[]][] = [];
    for (const table of PUBLISHED_TABLES) {
      const rows = await rowsOfTable(connection, table);
      tables.push([table, sorted(rows.map(withoutRun))]);
    }
    return z.record(z.enum(PUBLISHED_TABLES), z.array(z.string())).parse(Object.fromEntries(tables));
  });
}

function withoutRun(row: Row): Row {
  return Object.fromEntries(Object.entries(row).filter(([name]) => name !== 'run_id'));
}

/** Each published table's number of rows and a hash of them that ignores their order; without `run_id`. */
export async function fingerprint(lake: string): Promise<Record<string, string>> {
  return reading(lake, async (connection) => {
    const found: Record<string, string> = {};
    for (const table of PUBLISHED_TABLES) {
      const columns = contractOf(table).columns.flatMap(({ name }) => (name === 'run_id' ? [] : [`"${name}"`]));
      const sql = `select count(*)::VARCHAR || ' rows, ' || coalesce(sum(hash(${columns.join(', ')}))::VARCHAR, '') as hash from ${table}`;
      const [row] = await rowsOf(connection, sql, z.object({ hash: z.string() }));
      found[table] = row?.hash ?? '';
    }
    return found;
  });
}

type Connection = Awaited<ReturnType<typeof openSession>>['connection'];

async function reading<T>(lake: string, work: (connection: Connection) => Promise<T>): Promise<T> {
  const { tables } = lakePaths(lake);
  const session = await openSession(tables, path.join(tmpdir(), `stedi-test-scratch-${process.pid}`), { readOnly: true });
  try {
    return await work(session.connection);
  } finally {
    session.close();
  }
}

// Commands in this process

const count = z.int().min(0);
const COUNTED = [...LANDING_TABLES, ...PUBLISHED_TABLES.filter((table) => table !== 'loads')] as const;

/** What `run --json` prints. */
export const runResultSchema = z.strictObject({
  status: z.enum(['SUCCEEDED', 'FAILED', 'NOTHING_TO_DO']),
  runs: z.array(z.string()),
  tables: z.looseObject(Object.fromEntries(COUNTED.map((table) => [table, count]))).pipe(z.record(z.string(), count)),
  identity: z.strictObject({ sameTime: count, samePerson: count, otherPerson: count }),
  mlJoin: z.enum(['person-and-time', 'time']),
  withheld: z.strictObject({ accelerometer: z.record(z.string(), count), step_trainer: z.record(z.string(), count) }),
  consentsInDoubt: count.nullable(),
  loaded: z.strictObject({ landed: count, staged: count, duplicate: count, rejected: count }),
  held: z.array(z.strictObject({ file: z.string(), why: z.string() })),
  heldBefore: z.array(z.strictObject({ file: z.string(), why: z.string() })),
  useless: z.array(z.strictObject({ file: z.string(), records: count })),
  unread: z.array(z.strictObject({ file: z.string(), why: z.string() })),
  expectations: z.array(
    z.strictObject({
      name: z.string(),
      ok: z.boolean(),
      expected: z.union([z.string(), z.number()]),
      found: z.union([z.string(), z.number()]),
      look: z.string().optional(),
    }),
  ),
  error: z.string().nullable(),
  seconds: z.number().min(0),
});
type RunOutcome = z.infer<typeof runResultSchema> & { exitCode: number };

/** Calls a command in this process; returns its exit code and what it would print with `--json`. */
export async function call(
  options: Partial<CommonOptions> & { lake: string },
  command: (context: CommandContext) => Promise<number>,
): Promise<{ exitCode: number; value: unknown; text: string }> {
  let printed: { value: unknown; text: string } = { value: null, text: '' };
  const output: CommandContext['output'] = {
    json: true,
    say: () => undefined,
    result: (value, text) => {
      printed = { value, text: text() };
    },
    results: async (values, text) => {
      printed = { value: await collected(values), text: await text() };
    },
    line: () => undefined,
  };
  const exitCode = await command({ options: { json: true, set: [], ...options }, output });
  return { exitCode, ...printed };
}

/** `stedi run`, in this process. */
export async function runHere(
  lake: string,
  { sources = [], ...options }: Partial<CommonOptions> & { sources?: readonly string[] } = {},
): Promise<RunOutcome> {
  const { exitCode, value } = await call({ ...options, lake }, (context) => run(context, sources));
  return { exitCode, ...runResultSchema.parse(value) };
}

// Commands as processes

export const STEDI = fileURLToPath(new URL('../../local/stedi.mjs', import.meta.url));

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** A process that was started, and its output so far. */
export class Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  stdout = '';
  stderr = '';

  constructor(command: string, args: readonly string[], options: { env?: NodeJS.ProcessEnv; cwd?: string; uid?: number } = {}) {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    this.child = child;
    child.stdout.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => resolve({ code, signal, stdout: this.stdout, stderr: this.stderr }));
    });
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error('the process did not start');
    return this.child.pid;
  }

  /** Waits until it prints this; fails if it ends before. */
  async says(text: RegExp): Promise<void> {
    await until(`the process says ${text}`, async () => {
      if (text.test(this.stdout + this.stderr)) return true;
      if (this.child.exitCode !== null || this.child.signalCode !== null)
        throw new Error(`the process ended without saying ${text}; it said: ${this.stdout}${this.stderr}`);
      return false;
    });
  }

  async stop(signal: NodeJS.Signals): Promise<Ended> {
    this.child.kill(signal);
    return this.ended;
  }
}

/** Starts `stedi` on the Node that runs the tests. */
export function startStedi(
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; cwd?: string; uid?: number } = {},
): Running {
  return new Running(process.execPath, [STEDI, ...args], options);
}

/** Runs `stedi` to its end. */
export async function stedi(...args: readonly string[]): Promise<Ended> {
  return startStedi(args).ended;
}

/** Asks until the answer is yes; fails after `seconds`. */
export async function until(what: string, ask: () => Promise<boolean>, seconds = 50): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!(await ask())) {
    if (Date.now() > end) throw new Error(`waited ${seconds} s in vain until ${what}`);
    await wait(50);
  }
}
