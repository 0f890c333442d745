import { existsSync } from 'node:fs';
import { z } from 'zod';
import { landingContractOf } from '../../functions/core/contracts.ts';
import { LANDING_TABLES } from '../../functions/core/steps.ts';
import { createViews, countLake, publishedRun, runAudits } from '../duckdb/counts.ts';
import { countOf, literal, rowsOf, whole } from '../duckdb/session.ts';
import type { LocalHome } from '../home.ts';
import { loadSettings, requireLake, withLake } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import { checksText } from '../views/checks.ts';
import type { Check } from '../views/checks.ts';

/** Is this lake healthy: conservation over all runs, audits, ledger against tables, nothing half done. Exit code 1 when it is not. */
export async function check({ options, output }: CommandContext): Promise<number> {
  requireLake(options.lake);
  const policies = loadSettings(options);
  const checks = await withLake(options, {}, 'check', async (home) => [
    ...(await halfDone(home)),
    ...(existsSync(home.paths.tables) ? [...(await tablesHealthy(home, policies)), ...(await ledgerMatches(home))] : []),
  ]);
  const ok = checks.every((each) => each.ok);
  output.result({ ok, checks }, () =>
    checksText(checks, '"stedi run" repairs what a killed process left, "stedi rebuild" compares all tables with landing'),
  );
  return ok ? 0 : 1;
}

async function halfDone(home: LocalHome): Promise<Check[]> {
  const lock = await home.ledger.lock();
  const states = new Map<string, number>();
  for await (const { state } of home.ledger.files()) states.set(state, (states.get(state) ?? 0) + 1);
  const count = (state: string): number => states.get(state) ?? 0;
  return [
    {
      name: 'no run is half done',
      ok: lock === null,
      found: lock === null ? 'the run lock is free' : `${lock.runId} holds the run lock`,
    },
    { name: 'no file is claimed', ok: count('claimed') === 0, found: `${count('claimed')} claimed` },
    { name: 'files', ok: true, found: `${count('loaded')} loaded, ${count('pending')} pending, ${count('held')} held` },
  ];
}

async function tablesHealthy(home: LocalHome, policies: ReturnType<typeof loadSettings>): Promise<Check[]> {
  const { run } = await home.session();
  const published = await publishedRun(run);
  if (published === null) return [{ name: 'published', ok: true, found: 'nothing was published yet' }];
  await createViews(run, policies);
  const { counts, loads } = await countLake(run);
  const conservation = LANDING_TABLES.map((name): Check => {
    const { landed, staged, duplicate, rejected } = loads[name];
    const rows = counts[landingContractOf(name).feeds];
    return {
      name: `conservation of ${name}`,
      ok: landed === staged + duplicate + rejected && staged === rows,
      found: `${landed} landed = ${staged} staged + ${duplicate} duplicate + ${rejected} rejected; ${rows} rows in ${landingContractOf(name).feeds}`,
    };
  });
  const unique = await Promise.all(
    LANDING_TABLES.map(async (name): Promise<Check> => {
      const { feeds, identity } = landingContractOf(name);
      const columns = identity.map((column) => `"${column}"`).join(', ');
      const twice = await countOf(run, `(select 1 from ${feeds} group by ${columns} having count(*) > 1)`);
      return { name: `each record once in ${feeds}`, ok: twice === 0, found: `${twice} twice` };
    }),
  );
  // Audits that depend on a policy hold for the policies that the tables were built with: a changed setting waits for the next run.
  const audits = (await runAudits(run)).map(({ name, rows }): Check => ({
    name: `audit ${name}`,
    ok: rows === 0,
    found: `${rows} rows`,
  }));
  return [...conservation, ...unique, ...audits];
}

const loadRow = z.object({
  file: z.string(),
  version: z.string(),
  landed: whole,
  staged: whole,
  duplicate: whole,
  rejected: whole,
});

async function ledgerMatches(home: LocalHome): Promise<Check[]> {
  const { run } = await home.session();
  const shows = (await publishedRun(run))?.runId;
  if (shows === undefined) return [];
  const knows = (await home.ledger.published())?.runId ?? null;
  const selects = LANDING_TABLES.map(
    (name) => `select file, version, landed, staged, duplicate, rejected from loads where landing_table = ${literal(name)}`,
  );
  const loads = new Map(
    (await rowsOf(run, selects.join(' union all '), loadRow)).map((row) => [`${row.file} ${row.version}`, row] as const),
  );
  const loaded = new Set<string>();
  const differing: string[] = [];
  for await (const { key, version, state, counts } of home.ledger.files()) {
    if (state !== 'loaded') continue;
    loaded.add(`${key} ${version}`);
    const load = loads.get(`${key} ${version}`);
    const same = load?.landed === counts?.landed && load?.staged === counts?.staged && load?.duplicate === counts?.duplicate;
    if (!same) differing.push(key);
  }
  const unknown = [...loads.keys()].filter((id) => !loaded.has(id));
  return [
    {
      name: 'ledger and lake show one run',
      ok: shows === knows,
      found: shows === knows ? shows : `lake ${shows}, ledger ${knows ?? 'none'}`,
    },
    {
      name: 'loaded files stand in loads',
      ok: differing.length === 0,
      found: differing.length === 0 ? `${loaded.size} files` : `not so: ${differing.slice(0, 3).join(', ')}`,
    },
    {
      name: 'loads stand in the ledger',
      ok: unknown.length === 0,
      found: unknown.length === 0 ? `${loads.size} loads` : `not so: ${unknown.slice(0, 3).join(', ')}`,
    },
  ];
}
