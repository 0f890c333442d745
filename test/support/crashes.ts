import { linkSync, mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { check } from '../../local/commands/check.ts';
import { lakePaths } from '../../local/lakePaths.ts';
import { call, Running, stedi } from './lake.ts';
import { AT, CONSENT, customer, lines, motion, step, walk } from './people.ts';

const CRASHING_RUN = fileURLToPath(new URL('../faults/crashingRun.ts', import.meta.url));

/** Runs until the point, where the process kills itself; see test/faults/crashingRun.ts for points. */
export async function killedAt(lake: string, point: string): Promise<void> {
  const { signal, stderr } = await new Running(process.execPath, [CRASHING_RUN, '--lake', lake, '--at', point]).ended;
  if (signal !== 'SIGKILL') throw new Error(`the run was not killed at "${point}": ${stderr || 'it never came there'}`);
}

/** Puts another lake's landing files into a lake, as the same file versions. */
export function linkLanding(from: string, lake: string, wanted: (key: string) => boolean = () => true): void {
  const [source, target] = [lakePaths(from).landing, lakePaths(lake).landing];
  for (const entry of readdirSync(source, { recursive: true, withFileTypes: true })) {
    const key = path.relative(source, path.join(entry.parentPath, entry.name));
    if (!entry.isFile() || !wanted(key)) continue;
    mkdirSync(path.dirname(path.join(target, key)), { recursive: true });
    linkSync(path.join(source, key), path.join(target, key));
  }
}

/** One `stedi run` as a process; fails unless it succeeds. */
export async function runToTheEnd(lake: string): Promise<void> {
  const { code, stdout, stderr } = await stedi('run', '--lake', lake, '--set', 'maxRejectRatio=1');
  if (code !== 0) throw new Error(`stedi run ended with ${code}: ${stdout}${stderr}`);
}

/** What `stedi check` finds wrong. */
export async function illnesses(lake: string): Promise<string[]> {
  const { exitCode, text } = await call({ lake }, check);
  return exitCode === 0 ? [] : text.split('\n').filter((line) => line.includes('| NO '));
}

const PEOPLE = ['ann', 'ben', 'cem', 'dan', 'eve', 'fay'].map((name, at) => ({
  email: `${name}@x.org`,
  ...(at % 3 !== 2 && { shares: CONSENT }),
}));

/** Landing files with a bit of everything: repeated records, rejects, gzip, a withdrawal, an empty file. */
export function mixedFiles(): Record<string, string | Uint8Array> {
  const people = walk(PEOPLE);
  return {
    ...people,
    'customer_landing/again.json': `${people['customer_landing/people.json'] ?? ''}not json\n`,
    'customer_landing/withdrawal.json': lines(customer({ email: 'ann@x.org', updated: AT })),
    'customer_landing/empty.json': '',
    'accelerometer_landing/more.json.gz': gzipSync(lines(...PEOPLE.map(({ email }) => motion(email, AT + 7, 2)), '{"user":1}')),
    'step_trainer_landing/more.json': lines(...PEOPLE.map(({ email }) => step(email, AT + 7)), step('nobody@x.org'), '[1]'),
  };
}
