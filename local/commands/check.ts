import { existsSync } from 'node:fs';
import { createViews, countLake, publishedRun, runAudits } from '../duckdb/counts.ts';
import { countOf, rowsOf, whole } from '../duckdb/session.ts';
import type { LocalHome } from '../home.ts';
import { loadSettings, requireLake, withLake } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import {
  auditChecks,
  checksText,
  conservationChecks,
  countByState,
  fileChecks,
  loadChecks,
  loadRowOf,
  LOADS_QUERY,
  oneRunCheck,
  recordsOnceChecks,
} from '../views/checks.ts';
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

async function halfDone({ ledger }: LocalHome): Promise<Check[]> {
  const lock = await ledger.lock();
  const holder = lock === null ? 'the run lock is free' : `${lock.runId} holds the run lock`;
  return [{ name: 'no run is half done', ok: lock === null, found: holder }, ...fileChecks(await countByState(ledger), false)];
}

async function tablesHealthy(home: LocalHome, policies: ReturnType<typeof loadSettings>): Promise<Check[]> {
  const { run } = await home.session();
  const published = await publishedRun(run);
  if (published === null) return [{ name: 'published', ok: true, found: 'nothing was published yet' }];
  await createViews(run, policies);
  return [
    ...conservationChecks(await countLake(run)),
    ...(await recordsOnceChecks((from) => countOf(run, from))),
    // Audits that depend on a policy hold for the policies that the tables were built with: a changed setting waits for the next run.
    ...auditChecks(await runAudits(run)),
  ];
}

async function ledgerMatches(home: LocalHome): Promise<Check[]> {
  const { run } = await home.session();
  const shows = (await publishedRun(run))?.runId;
  if (shows === undefined) return [];
  const knows = (await home.ledger.published())?.runId ?? null;
  const loads = await rowsOf(run, LOADS_QUERY, loadRowOf(whole));
  return [oneRunCheck(shows, knows), ...(await loadChecks(home.ledger, loads))];
}
