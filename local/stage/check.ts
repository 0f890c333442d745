import { z } from 'zod';
import { AUDIT_NAMES } from '../../functions/core/auditNames.ts';
import { landingContractOf } from '../../functions/core/contracts.ts';
import { auditsSchema, readRunFile } from '../../functions/core/runFiles.ts';
import type { Audits } from '../../functions/core/runFiles.ts';
import { LANDING_TABLES, PUBLISHED_TABLES } from '../../functions/core/steps.ts';
import type { CommandContext } from '../lake.ts';
import { checksText } from '../views/checks.ts';
import type { Check } from '../views/checks.ts';
import { ask } from './athena.ts';
import { latestExecutions } from './executions.ts';
import { withStage } from './stage.ts';
import type { Stage } from './stage.ts';

/**
 * Is this stage healthy: nothing half done, ledger and lake show one run, the tables hold what was audited. With `scan` the tables themselves are
 * read through Athena too, which costs what it scans. Exit code 1 when something is wrong.
 */
export async function check({ options, output }: CommandContext, scan: boolean): Promise<number> {
  const checks = await withStage(options, async (stage) => [
    ...(await halfDone(stage)),
    ...(await published(stage)),
    ...(scan ? await scanned(stage) : []),
  ]);
  const ok = checks.every((each) => each.ok);
  output.result({ ok, checks }, () =>
    checksText(checks, 'the next schedule settles what an ended run left; "stedi show last" says how it ended'),
  );
  return ok ? 0 : 1;
}

async function halfDone(stage: Stage): Promise<Check[]> {
  const lock = await stage.ledger.lock();
  const executions = lock === null ? [] : await latestExecutions(stage);
  const isGoing = executions.some(({ runId, status }) => runId === lock?.runId && status === 'RUNNING');
  const states = new Map<string, number>();
  for await (const { state } of stage.ledger.files()) states.set(state, (states.get(state) ?? 0) + 1);
  const count = (state: string): number => states.get(state) ?? 0;
  const holder = isGoing ? `${lock?.runId} is going` : `${lock?.runId} holds the run lock and is not running`;
  return [
    { name: 'no run is half done', ok: lock === null || isGoing, found: lock === null ? 'the run lock is free' : holder },
    { name: 'no file is claimed', ok: count('claimed') === 0 || isGoing, found: `${count('claimed')} claimed` },
    { name: 'files', ok: true, found: `${count('loaded')} loaded, ${count('pending')} pending, ${count('held')} held` },
  ];
}

async function published(stage: Stage): Promise<Check[]> {
  const shows = await stage.lake.publishedRun();
  if (shows === null) return [{ name: 'published', ok: true, found: 'nothing was published yet' }];
  const knows = await stage.ledger.published();
  const audits = await readRunFile(stage.runFiles, shows.runId, 'metrics/audits.json', auditsSchema);
  return [
    {
      name: 'ledger and lake show one run',
      ok: shows.runId === knows?.runId,
      found: shows.runId === knows?.runId ? shows.runId : `lake ${shows.runId}, ledger ${knows?.runId ?? 'none'}`,
    },
    ...(audits === null
      ? [{ name: 'audits', ok: false, found: `runs/${shows.runId}/metrics/audits.json is missing` }]
      : audited(audits, await stage.lake.counts())),
  ];
}

/** What the run counted before it was published, against itself and against what the tables show. */
function audited({ counts, loads, audits }: Audits, shown: Audits['counts']): Check[] {
  const differing = PUBLISHED_TABLES.filter((table) => counts[table] !== shown[table]);
  return [
    {
      name: 'tables hold what was audited',
      ok: differing.length === 0,
      found:
        differing.length === 0
          ? `${PUBLISHED_TABLES.length} tables`
          : differing.map((table) => `${table}: audited ${counts[table]}, shows ${shown[table]}`).join('; '),
    },
    ...LANDING_TABLES.map((table): Check => {
      const { landed, staged, duplicate, rejected } = loads[table];
      const { feeds } = landingContractOf(table);
      return {
        name: `conservation of ${table}`,
        ok: landed === staged + duplicate + rejected && staged === counts[feeds],
        found: `${landed} landed = ${staged} staged + ${duplicate} duplicate + ${rejected} rejected; ${counts[feeds]} rows in ${feeds}`,
      };
    }),
    ...AUDIT_NAMES.map((name): Check => {
      const rows = audits.find((audit) => audit.name === name)?.rows;
      return { name: `audit ${name}`, ok: rows === 0, found: rows === undefined ? 'no result' : `${rows} rows` };
    }),
  ];
}

const whole = z.number();
const loadRow = z.object({
  file: z.string(),
  version: z.string(),
  landed: whole,
  staged: whole,
  duplicate: whole,
  rejected: whole,
});

/** What Athena reads from the tables: rows against their metadata, each record once, loads against the ledger. */
async function scanned(stage: Stage): Promise<Check[]> {
  if ((await stage.lake.publishedRun()) === null) return [];
  const shown = await stage.lake.counts();
  const rows = async (from: string): Promise<number> => {
    const answer = await ask(stage, `select count(*) as found from ${from}`);
    return z.object({ found: whole }).parse(answer.rows[0]).found;
  };
  const checks: Check[] = [];
  for (const table of PUBLISHED_TABLES) {
    const found = await rows(table);
    checks.push({
      name: `rows of ${table}`,
      ok: found === shown[table],
      found: `${found} read, ${shown[table]} by the metadata`,
    });
  }
  for (const table of LANDING_TABLES) {
    const { feeds, identity } = landingContractOf(table);
    const columns = identity.map((column) => `"${column}"`).join(', ');
    const twice = await rows(`(select 1 from ${feeds} group by ${columns} having count(*) > 1)`);
    checks.push({ name: `each record once in ${feeds}`, ok: twice === 0, found: `${twice} twice` });
  }
  return [...checks, ...(await loadsInLedger(stage))];
}

async function loadsInLedger(stage: Stage): Promise<Check[]> {
  const { rows } = await ask(stage, 'select file, version, landed, staged, duplicate, rejected from loads');
  const loads = new Map(
    z
      .array(loadRow)
      .parse(rows)
      .map((load) => [`${load.file} ${load.version}`, load]),
  );
  const loaded = new Set<string>();
  const differing: string[] = [];
  for await (const { key, version, state, counts } of stage.ledger.files()) {
    if (state !== 'loaded') continue;
    const load = loads.get(`${key} ${version}`);
    loaded.add(`${key} ${version}`);
    const parts = ['landed', 'staged', 'duplicate', 'rejected'] as const;
    if (parts.some((part) => load?.[part] !== counts?.[part])) differing.push(key);
  }
  const unknown = [...loads.keys()].filter((id) => !loaded.has(id));
  const notSo = (names: readonly string[]): string => `not so: ${names.slice(0, 3).join(', ')}`;
  return [
    {
      name: 'loaded files stand in loads',
      ok: differing.length === 0,
      found: differing.length === 0 ? `${loaded.size} files` : notSo(differing),
    },
    {
      name: 'loads stand in the ledger',
      ok: unknown.length === 0,
      found: unknown.length === 0 ? `${loads.size} loads` : notSo(unknown),
    },
  ];
}
