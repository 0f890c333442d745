import { existsSync } from 'node:fs';
import { readRunFile } from '../../functions/core/runFiles.ts';
import type { FileState } from '../../functions/ports.ts';
import { createViews, countLake, publishedRun, runAudits } from '../duckdb/counts.ts';
import { ensureTables } from '../duckdb/tables.ts';
import { countOf, rowsOf, whole } from '../duckdb/session.ts';
import { REBUILD_ADVICE, unlessDamaged } from '../duckdb/trouble.ts';
import type { LocalHome } from '../home.ts';
import { requireLake, withLake } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import {
  auditChecks,
  auditedCheck,
  auditedSchema,
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

/** Is this lake healthy: conservation over all runs, audits, ledger against tables, nothing half done. Exit code 1 if not. */
export async function check({ options, output }: CommandContext): Promise<number> {
  requireLake(options.lake);
  const { files, checks, lost } = await withLake(options, {}, 'check', async (home) => {
    const found = await tablesChecks(home);
    const files = await filesByState(home);
    return { ...found, files, checks: [await halfDone(home), ...fileChecks(files, false), ...found.checks] };
  });
  const ok = checks.every((each) => each.ok);
  output.result({ ok, files, checks }, () =>
    checksText(
      checks,
      lost ? REBUILD_ADVICE : '"stedi run" repairs what a killed process left, "stedi rebuild" compares all tables with landing',
    ),
  );
  return ok ? 0 : 1;
}

/** What the tables show; `lost` if they can't be read although a run has published. */
async function tablesChecks(home: LocalHome): Promise<{ checks: Check[]; lost: boolean }> {
  const { tables } = home.paths;
  const name = 'the tables are there';
  const lost = (found: string) => ({ checks: [{ name, ok: false, found }], lost: true });
  const trouble = await home.tablesTrouble();
  if (trouble !== null) return lost(trouble);
  if (!existsSync(tables)) return { checks: [], lost: false };
  return unlessDamaged(
    tables,
    async () => ({ checks: [{ name, ok: true, found: tables }, ...(await shown(home))], lost: false }),
    ({ message }) => lost(message),
  );
}

/** What has landed since is pending too. */
async function filesByState(home: LocalHome): Promise<Record<FileState, number>> {
  const known = await countByState(home.ledger);
  return { ...known, pending: known.pending + (await home.unknownLanded()).length };
}

async function halfDone({ ledger }: LocalHome): Promise<Check> {
  const lock = await ledger.lock();
  const found = lock === null ? 'the run lock is free' : `${lock.runId} holds the run lock`;
  return { name: 'no run is half done', ok: lock === null, found };
}

/** Checks the tables on their own and against the ledger. */
async function shown(home: LocalHome): Promise<Check[]> {
  const { connection } = await home.session();
  const published = await publishedRun(connection);
  if (published === null) return [{ name: 'published', ok: true, found: 'nothing was published yet' }];
  // The next run adds what contracts have gained since the last; here it goes with the transaction, which is never committed.
  await connection.run('begin transaction');
  await ensureTables(connection);
  // The policies the tables were built with: a changed setting waits for the next run.
  await createViews(connection, await home.policiesOf(published.runId));
  const knows = (await home.ledger.published())?.runId ?? null;
  const counted = await countLake(connection);
  const audits = await readRunFile(home.runFiles, published.runId, 'metrics/audits.json', auditedSchema);
  return [
    // Run folders may be deleted.
    ...(audits === null ? [] : [auditedCheck(audits, counted.counts)]),
    ...conservationChecks(counted),
    ...(await recordsOnceChecks((from) => countOf(connection, from))),
    ...auditChecks(await runAudits(connection)),
    oneRunCheck(published.runId, knows),
    ...(await loadChecks(home.ledger, await rowsOf(connection, LOADS_QUERY, loadRowOf(whole)))),
  ];
}
