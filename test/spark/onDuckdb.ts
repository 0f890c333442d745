// What the Spark tests need from TypeScript: what the engine on one machine makes of a landing folder, for comparison; data; the bundle.
//   node onDuckdb.ts run LAKE LANDING TABLE,… [key=value …]   one run over what is pending; prints the run's name and the tables as JSON lines
//   node onDuckdb.ts judge LAKE RUN [key=value …]             parses the files that a run on Spark has left, and lets the gate judge them
//   node onDuckdb.ts generate OUT CUSTOMERS SEED dirty|clean
//   node onDuckdb.ts damage OUT FILES SEED                    files with all kinds of damage to their bytes
//   node onDuckdb.ts bundle OUT                               the bundle of the jobs; prints its path
import fc from 'fast-check';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { auditsSchema, manifestSchema, readRunFile, readStepMetrics } from '../../functions/core/runFiles.ts';
import { judge } from '../../functions/core/expectations.ts';
import { parseSettings } from '../../functions/core/settings.ts';
import { PUBLISHED_TABLES } from '../../functions/core/steps.ts';
import { generate } from '../../local/generate.ts';
import { LocalHome } from '../../local/home.ts';
import { FolderRunFiles } from '../../local/runFiles.ts';
import { assetOf } from '../../plugins/assets.ts';
import { damagedFile } from '../support/randomFiles.ts';
import { PROJECT } from '../support/service.ts';
import { rowsOfTable } from '../support/tables.ts';

const [command = '', first = '', second = '', ...more] = process.argv.slice(2);

/** The tests compare tables, so the gate lets all of their data pass. */
const SETTINGS = { maxRejectRatio: 1, maxShrinkRatio: 1 };

async function runOnDuckdb(lake: string, landing: string, tables: string, set: string[]): Promise<void> {
  const home = new LocalHome({ folder: lake, landing, settings: parseSettings(SETTINGS, 'the test', set) });
  try {
    await home.announceLanding();
    await home.reconcile();
    await home.executions.drain();
    const [ended, ...others] = home.ended;
    if (ended?.status !== 'SUCCEEDED' || others.length > 0)
      throw new Error(`expected one good run, found ${JSON.stringify(home.ended)}`);
    print({ run: ended.runId });
    const { connection } = await home.session();
    const wanted = new Set<string>(tables.split(','));
    for (const table of PUBLISHED_TABLES.filter((one) => wanted.has(one))) {
      for (const row of await rowsOfTable(connection, table)) print({ table, row: { ...row, run_id: undefined } });
    }
  } finally {
    home.close();
  }
}

async function judgeRun(lake: string, runId: string, set: string[]): Promise<void> {
  const files = new FolderRunFiles(path.join(lake, 'runs'));
  const manifest = await readRunFile(files, runId, 'manifest.json', manifestSchema);
  if (manifest === null) throw new Error(`${runId} has no manifest`);
  const audits = await readRunFile(files, runId, 'metrics/audits.json', auditsSchema);
  const settings = parseSettings(SETTINGS, 'the test', set);
  print(judge({ manifest, steps: await readStepMetrics(files, runId), audits }, settings));
}

function landDamaged(out: string, files: number, seed: number): void {
  for (const [at, { table, bytes }] of fc.sample(damagedFile, { numRuns: files, seed }).entries()) {
    mkdirSync(path.join(out, table), { recursive: true });
    writeFileSync(path.join(out, table, `damaged-${at}.json`), bytes);
  }
}

function writeBundle(out: string): void {
  const { name, content } = assetOf(PROJECT, 'lakehouse');
  const place = path.join(out, name);
  writeFileSync(place, content);
  print(place);
}

/** BIGINT as text, since JSON's numbers can't hold all of them. */
function print(value: unknown): void {
  const text = JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? inner.toString() : inner));
  process.stdout.write(`${text}\n`);
}

if (command === 'run') await runOnDuckdb(first, second, more[0] ?? '', more.slice(1));
else if (command === 'judge') await judgeRun(first, second, more);
else if (command === 'generate')
  print(await generate({ out: first, customers: Number(second), seed: Number(more[0]), dirty: more[1] === 'dirty' }));
else if (command === 'damage') landDamaged(first, Number(second), Number(more[0]));
else if (command === 'bundle') writeBundle(first);
else throw new Error(`unknown command ${command}`);
