import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { DuckDBInstance } from '@duckdb/node-api';
import { landingContractOf } from '../functions/core/contracts.ts';
import { figure, table } from '../functions/core/textTable.ts';
import { LANDING_TABLES } from '../functions/core/steps.ts';
import { generate } from '../local/generate.ts';

/**
 * Measures the whole `stedi run` as a process against the floor: one DuckDB pass of read_json with typed columns over the same
 * files, counting every column. `node bench/run.ts [customers…]`; 9,000 customers are about 100 MB.
 */
const SIZES = process.argv.slice(2).map(Number);
const CUSTOMERS = SIZES.length > 0 ? SIZES : [956, 9_000, 90_000];
const REPEATS = 3;
const STEDI = fileURLToPath(new URL('../local/stedi.mjs', import.meta.url));

interface Measured {
  seconds: number;
  megabytes: number | null;
}

async function floor(landing: string): Promise<number> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const types = { text: 'VARCHAR', email: 'VARCHAR', integer: 'BIGINT', time: 'BIGINT', consent: 'BIGINT', double: 'DOUBLE' };
  const started = performance.now();
  for (const name of LANDING_TABLES) {
    const { columns } = landingContractOf(name);
    const fields = columns.map(({ spellings: [field], rule }) => `'${field}': '${types[rule]}'`);
    const counts = columns.map(({ spellings: [field] }) => `count("${field}")`);
    await connection.runAndReadAll(
      `select ${counts.join(', ')} from read_json('${landing}/${name}/*.json', columns = {${fields.join(', ')}}, format = 'newline_delimited')`,
    );
  }
  const seconds = (performance.now() - started) / 1000;
  connection.closeSync();
  instance.closeSync();
  return seconds;
}

/** A whole `stedi run` over a landing folder, in an empty lake. */
async function wholeRun(landing: string): Promise<Measured> {
  const lake = mkdtempSync(path.join(tmpdir(), 'stedi-bench-lake-'));
  renameSync(landing, path.join(lake, 'landing'));
  try {
    return await timed([STEDI, 'run', '--json', '--lake', lake]);
  } finally {
    renameSync(path.join(lake, 'landing'), landing);
    rmSync(lake, { recursive: true });
  }
}

function timed(args: readonly string[]): Promise<Measured> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    let peak: number | null = null;
    const poll = setInterval(() => (peak = peakMegabytes(child.pid) ?? peak), 20);
    child.on('error', reject);
    child.on('exit', (code) => {
      clearInterval(poll);
      if (code === 0) resolve({ seconds: (performance.now() - started) / 1000, megabytes: peak });
      else reject(new Error(`${args.join(' ')} ended with ${code}`));
    });
  });
}

/** The kernel's high-water mark; null if there is no /proc. */
function peakMegabytes(pid: number | undefined): number | null {
  try {
    const [, kilobytes] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return kilobytes === undefined ? null : Math.round(Number(kilobytes) / 1024);
  } catch {
    return null;
  }
}

function bytesBelow(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(path.join(entry.parentPath, entry.name)).size, 0);
}

async function repeat<T>(work: () => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let at = 0; at < REPEATS; at += 1) results.push(await work());
  return results;
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? Number.NaN;
}

const rows: string[][] = [];
for (const customers of CUSTOMERS) {
  const folder = mkdtempSync(path.join(tmpdir(), 'stedi-bench-'));
  const landing = path.join(folder, 'landing');
  try {
    process.stderr.write(`${figure(customers)} customers…\n`);
    const { records } = await generate({ out: landing, customers });
    const total = Object.values(records).reduce((sum, count) => sum + count, 0);
    const floors = median(await repeat(() => floor(landing)));
    const runs = await repeat(() => wholeRun(landing));
    const whole = median(runs.map(({ seconds }) => seconds));
    const peak = Math.max(...runs.map(({ megabytes }) => megabytes ?? Number.NaN));
    rows.push([
      `${figure(Math.round(bytesBelow(landing) / 1e6))} MB`,
      figure(total),
      floors.toFixed(2),
      whole.toFixed(2),
      (whole / floors).toFixed(1),
      ((whole / total) * 1e6).toFixed(2),
      figure(peak),
    ]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
console.log(
  table(['landing', 'records', 'floor, s', 'whole run, s', 'ratio', 'µs per record', 'peak, MB'], rows, [
    'r',
    'r',
    'r',
    'r',
    'r',
    'r',
    'r',
  ]),
);
