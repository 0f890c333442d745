import { byLandingTable } from '../functions/core/steps.ts';
import type { LandingTable } from '../functions/core/steps.ts';
import { UsageError } from '../functions/core/errors.ts';
import { figure } from '../functions/core/textTable.ts';
import { NARROWEST_WINDOW, planCrowd } from './generate/crowd.ts';
import type { Window } from './generate/crowd.ts';
import { mixDefects } from './generate/defects.ts';
import type { MixedIn } from './generate/defects.ts';
import { Material } from './generate/defects/material.ts';
import { LandingFiles, prepareLanding, writeLandingFile, Written } from './generate/files.ts';
import { REFERENCE, STEPS } from './generate/quotas.ts';
import { Random } from './generate/random.ts';
import { CrowdRecords } from './generate/records.ts';

export interface GenerateOptions {
  /** The landing folder; the folders of the landing tables are made in it. */
  out: string;
  /** How many people; by default the size of the reference data. */
  customers?: number;
  /** The same seed gives the same bytes. */
  seed?: number;
  /** Mixes in every kind of defect. */
  dirty?: boolean;
}

export interface Generated {
  files: number;
  bytes: number;
  /** What a run must find landed … */
  records: Record<LandingTable, number>;
  /** … of it, what it must reject … */
  rejected: Record<LandingTable, number>;
  /** … and what it must count as duplicates. The last two are 0 without defects. */
  duplicates: Record<LandingTable, number>;
  /** What was mixed in; empty without `dirty`. */
  defects: MixedIn[];
}

/**
 * Writes sample landing files of the shape and the proportions of the reference data (see `REFERENCE`), invented and repeatable.
 * Defects, if wanted, come in files of their own and change no trusted table. Memory stays flat at any size.
 * @throws UsageError when an option is out of range or a landing folder already holds files
 */
export async function generate(options: GenerateOptions): Promise<Generated> {
  const { out, customers = REFERENCE.people, seed = 1, dirty = false } = options;
  checkCustomers(customers);
  checkSeed(seed);
  await prepareLanding(out);

  const written = new Written();
  try {
    const result = await writeAll({ out, customers, seed, dirty }, written);
    return { ...result, files: await written.reveal(), bytes: written.bytes };
  } catch (error) {
    await written.abandon();
    throw error;
  }
}

async function writeAll(
  { out, customers, seed, dirty }: Required<GenerateOptions>,
  written: Written,
): Promise<Omit<Generated, 'files' | 'bytes'>> {
  const records = await writeClean(out, customers, seed, written);
  const [rejected, duplicates] = [byLandingTable(() => 0), byLandingTable(() => 0)];
  if (!dirty) return { records, rejected, duplicates, defects: [] };
  const material = new Material(seed, customers, recordsOfCrowd(0, customers, seed));
  const defects = await mixDefects(customers, material, async (drop) => {
    await writeLandingFile(out, drop.table, drop.name, drop.bytes, written);
    records[drop.table] += drop.landed;
    rejected[drop.table] += drop.rejected;
    duplicates[drop.table] += drop.duplicates;
  });
  return { records, rejected, duplicates, defects };
}

// Options

const FEWEST = 2;
/** With this many people, reading times still fit into the 30 days without chance meetings. */
const MOST = 10_000_000;

function checkCustomers(customers: number): void {
  if (Number.isSafeInteger(customers) && customers >= FEWEST && customers <= MOST) return;
  const expected = `expected a whole number of customers from ${FEWEST} to ${figure(MOST)}`;
  throw new UsageError(
    `${expected}, found ${customers}: nothing was written; choose a number in this range (the reference data have ${REFERENCE.people})`,
  );
}

function checkSeed(seed: number): void {
  if (Number.isSafeInteger(seed) && seed >= 0) return;
  throw new UsageError(
    `expected a seed that is a whole number, 0 or more; found ${seed}: nothing was written; choose another seed`,
  );
}

// Clean data

async function writeClean(out: string, customers: number, seed: number, written: Written): Promise<Record<LandingTable, number>> {
  const filesOf = (table: LandingTable, lines: number): LandingFiles =>
    new LandingFiles(out, table, linesPerFile(lines), written);
  const files = {
    customers: filesOf('customer_landing', customers),
    motions: filesOf('accelerometer_landing', (customers * REFERENCE.motions) / REFERENCE.people),
    steps: filesOf('step_trainer_landing', customers * STEPS),
  };
  const all = Object.values(files);
  try {
    for (let crowd = 0; crowd < crowdsOf(customers); crowd += 1) {
      recordsOfCrowd(crowd, customers, seed).write(files);
      await allOf(all.map(async (table) => table.drain()));
    }
    await allOf(all.map(async (table) => table.finish()));
  } finally {
    await allOf(all.map(async (table) => table.close()));
  }
  return {
    customer_landing: files.customers.lines,
    accelerometer_landing: files.motions.lines,
    step_trainer_landing: files.steps.lines,
  };
}

/** Waits for all of them even if one fails: one that still writes would leave a file behind. */
async function allOf(work: readonly Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(work)).find(({ status }) => status === 'rejected');
  if (failed?.status === 'rejected') throw failed.reason;
}

const LINES_PER_FILE = 10_000;
const MOST_FILES_PER_TABLE = 30;

/** As in the reference data; for more data a whole multiple, so that there are never very many files. */
function linesPerFile(lines: number): number {
  return LINES_PER_FILE * Math.max(1, Math.ceil(lines / LINES_PER_FILE / MOST_FILES_PER_TABLE));
}

// Crowds

/**
 * Crowds have the reference size, whose quotas are whole numbers; the last one takes what is left and is up to twice as large.
 * (A last crowd of its own could be one person, for whom nothing can be in proportion.)
 */
function crowdsOf(customers: number): number {
  return Math.max(1, Math.floor(customers / REFERENCE.people));
}

function recordsOfCrowd(crowd: number, customers: number, seed: number): CrowdRecords {
  const crowds = crowdsOf(customers);
  const firstIndex = crowd * REFERENCE.people;
  const people = crowd === crowds - 1 ? customers - firstIndex : REFERENCE.people;
  const random = new Random(seed, crowd);
  return new CrowdRecords(planCrowd(people, windowOf(crowd, crowds), random), seed, firstIndex, random);
}

const DAY = 24 * 60 * 60 * 1_000;
const FIRST_DAY = Date.UTC(2022, 5, 18);
const DAYS = 30;
/** A day is cut into windows; 45 minutes are a little more than the reference crowd needs. */
const FEWEST_WINDOWS_PER_DAY = 32;
/** The reference crowd walked at 14:18 UTC: in the window from 14:15. */
const FIRST_WINDOW = 19 / FEWEST_WINDOWS_PER_DAY;

/** Crowds take turns by day: the first ones walk on different days at the same time of day. */
function windowOf(crowd: number, crowds: number): Window {
  const windowsPerDay = Math.max(FEWEST_WINDOWS_PER_DAY, Math.ceil(crowds / DAYS));
  const width = Math.floor(DAY / windowsPerDay);
  if (width < NARROWEST_WINDOW) throw new Error(`windows of ${width} ms are too narrow: this is a bug in local/generate`);
  const place = (Math.floor(FIRST_WINDOW * windowsPerDay) + Math.floor(crowd / DAYS)) % windowsPerDay;
  return { start: FIRST_DAY + (crowd % DAYS) * DAY + place * width, width };
}
