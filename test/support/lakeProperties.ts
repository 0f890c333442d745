import fc from 'fast-check';
import { mkdirSync, mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { PUBLISHED_TABLES } from '../../functions/core/steps.ts';
import { LocalHome } from '../../local/home.ts';
import { ReferenceLake, sorted } from '../reference/index.ts';
import type { LandedFile, Policy, Row } from '../reference/index.ts';
import { dump } from './lake.ts';
import { runPending, settingsWith } from './lakes.ts';
import { STAGED, StagingBench } from './staging.ts';
import { damagedFile, fileOf, shuffled, world } from './randomFiles.ts';
import type { WorldFile } from './randomFiles.ts';

interface Trials {
  cases: number;
  /** Ends earlier if it takes longer than this. */
  seconds: number;
  /** Which cases they are; PROPERTY_SEED overrides it. */
  seed: number;
}

/** Checks a property and returns how many cases were tried; a failure names the seed, which PROPERTY_SEED repeats. */
async function holds<T extends [unknown, ...unknown[]]>(
  { cases, seconds, seed: given }: Trials,
  property: fc.IAsyncProperty<T>,
): Promise<number> {
  const seed = Number(process.env['PROPERTY_SEED'] ?? given);
  // When the time is up fast-check abandons the case in progress; it must finish before its lake is taken away.
  let last: ReturnType<typeof property.run> = Promise.resolve(null);
  const run = property.run.bind(property);
  property.run = (...given) => (last = run(...given));
  const tried = await fc.check(property, {
    numRuns: cases,
    seed,
    ...(Number.isFinite(seconds) && { interruptAfterTimeLimit: seconds * 1000 }),
    markInterruptAsFailure: false,
  });
  const failure = await last;
  if (tried.interrupted && tried.numRuns === 0) throw new Error(`no case has ended within ${seconds} s`);
  if (tried.failed) {
    const report = await fc.asyncDefaultReportMessage(tried);
    throw new Error(`PROPERTY_SEED=${seed} repeats this. ${report}`, { cause: tried.errorInstance });
  }
  if (failure !== null && 'error' in failure) throw new Error(`PROPERTY_SEED=${seed} repeats this`, { cause: failure.error });
  return tried.numRuns;
}

const policy: fc.Arbitrary<Policy> = fc.record({
  mlJoin: fc.constantFrom('person-and-time', 'time'),
  consentFrom: fc.constantFrom('any-time', 'consent-date'),
});

type Tables = Record<string, string[]>;

/** A lake for one case, beside a reference lake that gets the same runs. */
class Twins {
  readonly #folder: string;
  readonly #reference = new ReferenceLake({ mlJoin: 'person-and-time', consentFrom: 'any-time' });

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Lands files and runs both; returns the tables, which must be equal. */
  async run(files: ReadonlyMap<string, WorldFile>, runPolicy: Policy, maxFilesPerRun = 10_000): Promise<Tables> {
    const home = new LocalHome({
      folder: this.#folder,
      settings: settingsWith({ ...runPolicy, maxFilesPerRun, maxRejectRatio: 1, maxShrinkRatio: 1 }),
    });
    try {
      const landed = [...files].map(([key, file]) => landAt(home.landing.pathOf(key), key, file));
      const ended = await runPending(home);
      const failed = ended.find(({ status }) => status === 'FAILED');
      if (failed !== undefined) throw new Error(`${failed.runId} failed: ${failed.error ?? ''}`);
      // Files that arrive together may be taken in any order if a run takes only some; of two with the same record the first one
      // staged it. So the reference gets the runs as they were.
      const runOf = new Map<string, string | null>();
      for await (const { key, runId } of home.ledger.files()) runOf.set(key, runId);
      for (const { runId } of ended)
        this.#reference.run(
          landed.filter(({ key }) => runOf.get(key) === runId),
          runId,
          runPolicy,
        );
    } finally {
      home.close();
    }
    const tables = await dump(this.#folder);
    expect(tables).toEqual(withoutRuns(this.#reference));
    return tables;
  }
}

/** Writes a landing file; its time is fixed, so that its version is the same in each lake. */
function landAt(file: string, key: string, { table, bytes }: WorldFile): LandedFile {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, bytes);
  utimesSync(file, 1_650_000_000, 1_650_000_000);
  const { size, mtimeNs } = statSync(file, { bigint: true });
  return { table, key, version: `${size}-${mtimeNs}`, bytes };
}

function withoutRuns(reference: ReferenceLake): Tables {
  const tables = reference.tables();
  return Object.fromEntries(
    PUBLISHED_TABLES.map((table) => {
      const rows: readonly Row[] = tables[table];
      return [table, sorted(rows.map((row) => without(row, ['run_id'])))];
    }),
  );
}

function without(row: Row, names: readonly string[]): Row {
  return Object.fromEntries(Object.entries(row).filter(([name]) => !names.includes(name)));
}

/** Counts over all loads of a landing table. */
function loadSums(tables: Tables): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const load of tables['loads'] ?? []) {
    for (const count of ['landed', 'staged', 'duplicate', 'rejected']) {
      const [, number] = new RegExp(`"${count}":(\\d+)`).exec(load) ?? [];
      const [, table = ''] = /"landing_table":"(\w+)"/.exec(load) ?? [];
      sums[`${table} ${count}`] = (sums[`${table} ${count}`] ?? 0) + Number(number);
    }
  }
  return sums;
}

/** What may not depend on how files arrived: everything but which of two files with the same record staged it. */
function outcome(tables: Tables) {
  return { ...tables, loads: loadSums(tables) };
}

function keyed(files: readonly WorldFile[]): Map<string, WorldFile> {
  return new Map(files.map((file, at) => [`${file.table}/file ${at}`, file]));
}

export class LakeProperties {
  readonly #root: string;
  readonly #trials: Trials;

  constructor(root: string, trials: Trials) {
    this.#root = root;
    this.#trials = trials;
  }

  /** Any order and any split of the same files over any number of runs gives identical tables, equal to the reference's. */
  async anyOrderAndSplit(): Promise<number> {
    const arrivals = world.chain((files) =>
      fc.record({
        files: fc.constant(files),
        runOf: fc.array(fc.nat(3), { minLength: files.length, maxLength: files.length }),
        policies: fc.array(policy, { minLength: 4, maxLength: 4 }),
        filesPerRun: fc.constantFrom(1, 3, 10_000),
        final: policy,
      }),
    );
    return holds(
      this.#trials,
      fc.asyncProperty(arrivals, async ({ files, runOf, policies, filesPerRun, final }) => {
        const all = keyed(files);
        const whole = await this.#inLake((lake) => lake.run(all, final));
        const split = await this.#inLake(async (lake) => {
          for (const [run, runPolicy] of policies.entries()) {
            const part = [...all].filter((_, at) => runOf[at] === run);
            if (part.length > 0) await lake.run(new Map(part), runPolicy);
          }
          return lake.run(new Map(), final, filesPerRun);
        });
        expect(outcome(split)).toEqual(outcome(whole));
      }),
    );
  }

  /** A run that may take few files at a time reaches the same tables in several runs. */
  async anyNumberOfFilesPerRun(): Promise<number> {
    return holds(
      this.#trials,
      fc.asyncProperty(world, policy, fc.integer({ min: 1, max: 3 }), async (files, runPolicy, filesPerRun) => {
        const whole = await this.#inLake((lake) => lake.run(keyed(files), runPolicy));
        const cut = await this.#inLake((lake) => lake.run(keyed(files), runPolicy, filesPerRun));
        expect(outcome(cut)).toEqual(outcome(whole));
      }),
    );
  }

  /** The same file under a new name adds to landed, and to duplicate and rejected, and to nothing else. */
  async sameFileAgain(): Promise<number> {
    return holds(
      this.#trials,
      fc.asyncProperty(world, policy, fc.nat(), async (files, runPolicy, pick) => {
        const again = files[pick % files.length];
        if (again === undefined) return;
        await this.#inLake(async (lake) => {
          const before = await lake.run(keyed(files), runPolicy);
          const { loads = [], rejected = [], ...after } = await lake.run(new Map([[`${again.table}/again`, again]]), runPolicy);
          expect({ ...before, ...after }).toEqual(before);
          const added = loads.filter((load) => !before['loads']?.includes(load));
          expect(added).toHaveLength(1);
          expect(added[0]).toMatch(/"staged":0\b/);
          const addedRejects = rejected.filter((record) => !before['rejected']?.includes(record));
          expect(added[0]).toContain(`"rejected":${addedRejects.length},`);
        });
      }),
    );
  }

  /** The order of a file's lines decides only the line numbers of its rejected records. */
  async anyOrderOfLines(): Promise<number> {
    const bench = await StagingBench.open(this.#newFolder());
    try {
      return await holds(
        this.#trials,
        fc.asyncProperty(shuffled, async ({ table, lines, other }) => {
          const [one, two] = [await staged(bench, fileOf(table, lines)), await staged(bench, fileOf(table, other))];
          expect(unnumbered(two)).toEqual(unnumbered(one));
        }),
      );
    } finally {
      bench.close();
    }
  }

  /** Whatever bytes a file has, what is staged, counted and rejected is as in the reference. */
  async anyBytes(): Promise<number> {
    const bench = await StagingBench.open(this.#newFolder());
    try {
      return await holds(
        this.#trials,
        fc.asyncProperty(damagedFile, async (file) => {
          const reference = new ReferenceLake({ mlJoin: 'person-and-time', consentFrom: 'any-time' });
          reference.run([landed(file)], 'run');
          const tables = reference.tables();
          const expected = Object.fromEntries(
            STAGED.map((table) => {
              const rows: readonly Row[] = tables[table];
              return [table, sorted(rows)];
            }),
          );
          expect(await staged(bench, file)).toEqual(expected);
        }),
      );
    } finally {
      bench.close();
    }
  }

  async #inLake<T>(work: (lake: Twins) => Promise<T>): Promise<T> {
    const folder = this.#newFolder();
    try {
      return await work(new Twins(folder));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  #newFolder(): string {
    return mkdtempSync(path.join(this.#root, 'case-'));
  }
}

function landed({ table, bytes }: WorldFile): LandedFile {
  return { table, key: `${table}/file.json`, version: 'v', bytes };
}

async function staged(bench: StagingBench, file: WorldFile): Promise<Tables> {
  return bench.stage([landed(file)], 'run');
}

/** Without the line numbers. */
function unnumbered(tables: Tables): Tables {
  return { ...tables, rejected: (tables['rejected'] ?? []).map((record) => record.replace(/"line":\d+/, '')).sort() };
}
