import { z } from 'zod';
import { AUDIT_NAMES } from '../../functions/core/auditNames.ts';
import { landingContractOf } from '../../functions/core/contracts.ts';
import { versionName } from '../../functions/core/fileVersions.ts';
import { figure, filesText, table } from '../../functions/core/textTable.ts';
import type { Audits } from '../../functions/core/runFiles.ts';
import { LANDING_TABLES, PUBLISHED_TABLES } from '../../functions/core/steps.ts';
import type { FileState, Ledger } from '../../functions/ports.ts';

export interface Check {
  name: string;
  ok: boolean;
  found: string;
}

/** Checks as a table, and their outcome. */
export function checksText(checks: readonly Check[], whatNext: string): string {
  return [
    table(
      ['check', 'ok', 'found'],
      checks.map(({ name, ok, found }) => [name, ok ? 'yes' : 'NO', found]),
      ['l', 'l', 'l'],
    ),
    checks.every(({ ok }) => ok) ? 'This lake is healthy' : `This lake needs attention; ${whatNext}`,
  ].join('\n\n');
}

/** How many file versions are in each state. */
export async function countByState(ledger: Pick<Ledger, 'files'>): Promise<Record<FileState, number>> {
  const counts = { pending: 0, claimed: 0, loaded: 0, held: 0 };
  for await (const { state } of ledger.files()) counts[state] += 1;
  return counts;
}

/** No file is claimed unless a run is on; and how many there are, for information. */
export function fileChecks({ pending, claimed, loaded, held }: Record<FileState, number>, isGoing: boolean): Check[] {
  return [
    { name: 'no file is claimed', ok: claimed === 0 || isGoing, found: `${claimed} claimed` },
    { name: 'files', ok: true, found: `${figure(loaded)} loaded, ${figure(pending)} pending, ${figure(held)} held` },
  ];
}

/** landed = staged + duplicate + rejected over all loads, and staged is what the staging table holds. */
export function conservationChecks({ loads, counts }: Pick<Audits, 'loads' | 'counts'>): Check[] {
  return LANDING_TABLES.map((name) => {
    const { landed, staged, duplicate, rejected } = loads[name];
    const { feeds } = landingContractOf(name);
    return {
      name: `conservation of ${name}`,
      ok: landed === staged + duplicate + rejected && staged === counts[feeds],
      found: `${figure(landed)} landed = ${figure(staged)} staged + ${figure(duplicate)} duplicate + ${figure(rejected)} rejected; ${figure(counts[feeds])} rows in ${feeds}`,
    };
  });
}

/** What `auditedCheck` needs of `metrics/audits.json`. A run of an earlier version has not counted tables added since. */
export const auditedSchema = z.looseObject({ counts: z.record(z.string(), z.number()) });

/** What the run counted before it was published is what the tables show. */
export function auditedCheck({ counts }: z.infer<typeof auditedSchema>, shown: Audits['counts']): Check {
  const audited = PUBLISHED_TABLES.filter((name) => counts[name] !== undefined);
  const differing = audited.filter((name) => counts[name] !== shown[name]);
  return {
    name: 'tables hold what was audited',
    ok: differing.length === 0,
    found:
      differing.length === 0
        ? `${audited.length} tables`
        : differing.map((name) => `${name}: audited ${counts[name]}, shows ${shown[name]}`).join('; '),
  };
}

/** Each record stands once in its staging table. `rowsIn` counts the rows of what follows FROM. */
export async function recordsOnceChecks(rowsIn: (from: string) => Promise<number>): Promise<Check[]> {
  const checks: Check[] = [];
  for (const name of LANDING_TABLES) {
    const { feeds, identity } = landingContractOf(name);
    const columns = identity.map((column) => `"${column}"`).join(', ');
    const twice = await rowsIn(`(select 1 from ${feeds} group by ${columns} having count(*) > 1)`);
    checks.push({ name: `each record once in ${feeds}`, ok: twice === 0, found: `${twice} twice` });
  }
  return checks;
}

/** Every audit has a result, and found nothing. */
export function auditChecks(audits: Audits['audits']): Check[] {
  return AUDIT_NAMES.map((name) => {
    const rows = audits.find((audit) => audit.name === name)?.rows;
    return { name: `audit ${name}`, ok: rows === 0, found: rows === undefined ? 'no result' : `${rows} rows` };
  });
}

export function oneRunCheck(shows: string, knows: string | null): Check {
  const ok = shows === knows;
  return { name: 'ledger and lake show one run', ok, found: ok ? shows : `lake ${shows}, ledger ${knows ?? 'none'}` };
}

/** What `loadChecks` needs of the table `loads`. `whole` is how an engine gives a whole number. */
export const LOADS_QUERY = 'select file, version, landed, staged, duplicate, rejected, run_id from loads';
export function loadRowOf(whole: z.ZodType<number>) {
  return z.object({
    file: z.string(),
    version: z.string(),
    landed: whole,
    staged: whole,
    duplicate: whole,
    rejected: whole,
    run_id: z.string(),
  });
}
type LoadRow = z.infer<ReturnType<typeof loadRowOf>>;

/**
 * What the ledger calls loaded and what the lake holds are the same file versions with the same counts. After a loss, the new ledger does not know
 * files that earlier runs loaded and landing no longer has. That is no harm: should one come back, a run finds it in `loads`.
 */
export async function loadChecks(ledger: Pick<Ledger, 'files'>, rows: readonly LoadRow[]): Promise<Check[]> {
  const loads = new Map(rows.map((load) => [versionName({ key: load.file, version: load.version }), load]));
  const states = new Map<string, FileState>();
  const differing: string[] = [];
  /** Names of runs begin with the time. */
  let earliestRun: string | null = null;
  for await (const { key, version, state, counts, runId } of ledger.files()) {
    const name = versionName({ key, version });
    states.set(name, state);
    if (state !== 'loaded') continue;
    if (runId !== null && (earliestRun === null || runId < earliestRun)) earliestRun = runId;
    const load = loads.get(name);
    const parts = ['landed', 'staged', 'duplicate', 'rejected'] as const;
    if (parts.some((part) => load?.[part] !== counts?.[part])) differing.push(key);
  }
  const loaded = [...states.values()].filter((state) => state === 'loaded');
  const isEarlier = ({ run_id }: LoadRow): boolean => earliestRun === null || run_id < earliestRun;
  const earlier = [...loads].filter(([name, load]) => !states.has(name) && isEarlier(load)).length;
  const lost = [...loads].filter(([name, load]) => states.get(name) !== 'loaded' && (states.has(name) || !isEarlier(load)));
  const ofEarlier =
    earlier === 0 ? '' : `, ${figure(earlier)} of them from runs before this ledger: no run reads those files again`;
  const notSo = (names: readonly string[]): string => `not so for ${names.slice(0, 3).join(', ')}`;
  return [
    {
      name: 'loaded files stand in loads',
      ok: differing.length === 0,
      found: differing.length === 0 ? filesText(loaded.length) : notSo(differing),
    },
    {
      name: 'loads stand in the ledger',
      ok: lost.length === 0,
      found: lost.length === 0 ? `${figure(loads.size)} loads${ofEarlier}` : notSo(lost.map(([name]) => name)),
    },
  ];
}
