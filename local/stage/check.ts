import { z } from 'zod';
import { auditsSchema, readRunFile } from '../../functions/core/runFiles.ts';
import type { Audits } from '../../functions/core/runFiles.ts';
import { PUBLISHED_TABLES } from '../../functions/core/steps.ts';
import type { FileState } from '../../functions/ports.ts';
import type { CommandContext } from '../lake.ts';
import {
  auditChecks,
  auditedCheck,
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
import { ask } from './athena.ts';
import { latestExecutions } from './executions.ts';
import { withStage } from './stage.ts';
import type { Stage } from './stage.ts';

/**
 * Is this stage healthy: nothing half done, ledger and lake show one run, the tables hold what was audited. With `scan` the tables themselves
 * are read through Athena too, which costs what it scans. Exit code 1 if something is wrong.
 */
export async function check({ options, output }: CommandContext, scan: boolean): Promise<number> {
  const { files, checks } = await withStage(options, async (stage) => {
    const files = await countByState(stage.ledger);
    return { files, checks: [...(await halfDone(stage, files)), ...(await published(stage, scan))] };
  });
  const ok = checks.every((each) => each.ok);
  output.result({ ok, files, checks }, () =>
    checksText(checks, 'the next schedule settles what an ended run left; "stedi show last" says how it ended'),
  );
  return ok ? 0 : 1;
}

async function halfDone(stage: Stage, files: Record<FileState, number>): Promise<Check[]> {
  const lock = await stage.ledger.lock();
  const executions = lock === null ? [] : await latestExecutions(stage);
  const isGoing = executions.some(({ runId, status }) => runId === lock?.runId && status === 'RUNNING');
  const holder = isGoing ? `${lock?.runId} is going` : `${lock?.runId} holds the run lock and is not running`;
  return [
    { name: 'no run is half done', ok: lock === null || isGoing, found: lock === null ? 'the run lock is free' : holder },
    ...fileChecks(files, isGoing),
  ];
}

async function published(stage: Stage, scan: boolean): Promise<Check[]> {
  const shows = await stage.lake.publishedRun();
  if (shows === null) return [{ name: 'published', ok: true, found: 'nothing was published yet' }];
  const knows = await stage.ledger.published();
  const shown = await stage.lake.counts();
  const audits = await readRunFile(stage.runFiles, shows.runId, 'metrics/audits.json', auditsSchema);
  return [
    oneRunCheck(shows.runId, knows?.runId ?? null),
    ...(audits === null
      ? [{ name: 'audits', ok: false, found: `runs/${shows.runId}/metrics/audits.json is missing` }]
      : [auditedCheck(audits, shown), ...conservationChecks(audits), ...auditChecks(audits.audits)]),
    ...(scan ? await scanned(stage, shown) : []),
  ];
}

/** What Athena reads from the tables: rows against their metadata, each record once, loads against the ledger. */
async function scanned(stage: Stage, shown: Audits['counts']): Promise<Check[]> {
  const rowsIn = async (from: string): Promise<number> => {
    const answer = await ask(stage, `select count(*) as found from ${from}`);
    return z.object({ found: z.number() }).parse(answer.rows[0]).found;
  };
  const checks: Check[] = [];
  for (const table of PUBLISHED_TABLES) {
    const found = await rowsIn(table);
    checks.push({
      name: `rows of ${table}`,
      ok: found === shown[table],
      found: `${found} read, ${shown[table]} by the metadata`,
    });
  }
  const { rows } = await ask(stage, LOADS_QUERY);
  return [
    ...checks,
    ...(await recordsOnceChecks(rowsIn)),
    ...(await loadChecks(stage.ledger, z.array(loadRowOf(z.number())).parse(rows))),
  ];
}
