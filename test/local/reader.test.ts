import { gzipSync } from 'node:zlib';
import { PUBLISHED_TABLES } from '../../functions/core/steps.ts';
import { loadCases } from '../cases/load.ts';
import type { ExpectedTables, StagingCase } from '../cases/load.ts';
import { sorted } from '../reference/index.ts';
import { temporaryFolders } from '../support/folders.ts';
import { land, runPending, settingsWith, temporaryLakes } from '../support/lakes.ts';
import { STAGED, StagingBench } from '../support/staging.ts';
import type { StagedTables } from '../support/staging.ts';
import { rowsOfTable } from '../support/tables.ts';

const newFolder = temporaryFolders();
const newLake = temporaryLakes();
let bench: StagingBench;
beforeAll(async () => {
  bench = await StagingBench.open(newFolder());
});
afterAll(() => bench.close());

// The cases of test/cases

/** What files in a folder can't be, and why. */
const NOT_IN_A_FOLDER: Record<string, string> = {
  'two versions of one key in one run, ordered as text': 'a folder holds one version of a key; the other one is overwritten and held',
};

const cases = loadCases();
const wholeRuns = cases.filter(({ runs }) => runs.length > 1 || (runs[0]?.files.length ?? 0) > 1);
const singleFiles = cases.filter((one) => !wholeRuns.includes(one));

test('every case that is left out is there', () => {
  const names = cases.map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(Object.keys(NOT_IN_A_FOLDER)));
});

describe.each([...new Set(singleFiles.map(({ theme }) => theme))])('cases of one file, staged: %s', (theme) => {
  test.each(singleFiles.filter((one) => one.theme === theme))('$name', async ({ runs, expect: expected }) => {
    const [run] = runs;
    expect(await bench.stage(run?.files ?? [], run?.runId ?? '')).toEqual(sortedCase(expected));
  });
});

describe('cases of several files or runs, through the whole pipeline', () => {
  test.each(wholeRuns.filter(({ name }) => NOT_IN_A_FOLDER[name] === undefined))('$theme: $name', async (one) => {
    expect(await throughPipeline(one)).toEqual(sortedCase(one.expect));
  });
});

function sortedCase(expected: ExpectedTables): StagedTables {
  return Object.fromEntries(STAGED.map((table) => [table, sorted(expected[table])]));
}

/** Lands and runs a case in a lake of its own; versions and run ids of the tables come back as the case names them. */
async function throughPipeline({ runs }: StagingCase): Promise<StagedTables> {
  const home = newLake(settingsWith({ maxRejectRatio: 1 }));
  const landed = new Set<string>();
  const nameOf = new Map<string, string>();
  for (const { runId, files } of runs) {
    for (const { key, version, bytes } of files) {
      if (landed.has(`${key} ${version}`)) continue; // it stands there as it was
      landed.add(`${key} ${version}`);
      land(home, key, bytes);
      nameOf.set(`${key} ${(await home.landing.current(key))?.version}`, version);
    }
    const ended = await runPending(home);
    expect(ended).toMatchObject([{ status: 'SUCCEEDED', error: null }]);
    nameOf.set(ended[0]?.runId ?? '', runId);
  }
  const { aside } = await home.session();
  const tables: StagedTables = {};
  for (const table of STAGED) {
    const rows = await rowsOfTable(aside, table);
    tables[table] = sorted(
      rows.map((row) => ({
        ...row,
        ...('version' in row && { version: nameOf.get(`${String(row['file'])} ${String(row['version'])}`) ?? 'unknown' }),
        ...('run_id' in row && { run_id: nameOf.get(String(row['run_id'])) ?? 'unknown' }),
      })),
    );
  }
  return tables;
}
