import { mkdirSync, rmSync } from 'node:fs';
import { z } from 'zod';
import { GateFailedError, LakeUnusableError, UsageError } from '../../functions/core/errors.ts';
import { versionName } from '../../functions/core/fileVersions.ts';
import { figure, table } from '../../functions/core/textTable.ts';
import { STAGING_TABLES } from '../../functions/core/steps.ts';
import { compareTables } from '../duckdb/compareTables.ts';
import type { Compared } from '../duckdb/compareTables.ts';
import { rowsOf } from '../duckdb/session.ts';
import { unlessDamaged } from '../duckdb/trouble.ts';
import { LocalHome } from '../home.ts';
import { lakePaths } from '../lakePaths.ts';
import { loadSettings, requireLake, withLake } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import type { Ledger, LedgerFile } from '../../functions/ports.ts';
import { listed, listedWithReasons } from '../listed.ts';
import type { FileAndWhy } from '../listed.ts';
import { noticingUnread, progress } from '../output.ts';
import { isReplacing, rebuildFolder, replaceTables } from '../replaceTables.ts';

/** What landing did not yield, with reasons: files that were held, and files that were not read. */
interface Built {
  held: FileAndWhy[];
  unread: FileAndWhy[];
  /** Files held in the lake but loaded here, each with the lake's reason. */
  noLongerHeld: FileAndWhy[];
  /** File versions that the lake has loaded but landing no longer has: deleted, or overwritten since. */
  gone: string[];
  /** Whether the lake has loaded any that were held or not read: replacing its tables would then lose records. */
  losesLoaded: boolean;
}

/** What came of it. */
interface Rebuilt extends Built, Compared {
  differs: boolean;
  /** Whether replacing would lose what the caller has not given up. */
  isPoorer: boolean;
  replaced: boolean;
  /** What becomes of records whose files are gone. */
  fate: string;
}

export interface RebuildFlags {
  /** Replace the tables with the rebuilt ones. */
  replace: boolean;
  /** Even if that loses withdrawals, or records of files that are gone from landing. */
  forget: boolean;
}

/** A file that was accepted under a one-off setting is judged by this call's settings. */
const RAISED = 'If you raised a limit to load a file, raise it here too, for example --set maxRejectRatio=1';

const KEPT = 'Some of their records are only in the tables; to lose them on purpose: "stedi rebuild --replace --forget"';
const FORGOTTEN = 'Some of their records were only in the tables, and are lost';
const NOT_MISSED = 'No record is missing because of this';
const LOST =
  'Any of their records that no other file holds are lost with the tables, withdrawals of consent too: whoever withdrew in one of them is back';
const BACK = 'put the files back into landing first, or go on without them: "stedi rebuild --replace --forget"';

/**
 * Rebuilds every table from landing, compares the result with the lake's tables, and replaces those only if asked. Exit code 1 if they differ
 * and stay, or if what was built lacks a file.
 */
export async function rebuild({ options, output }: CommandContext, { replace, forget }: RebuildFlags): Promise<number> {
  if (forget && !replace) throw new UsageError('--forget works only with --replace: without it nothing is removed');
  requireLake(options.lake);
  return withLake(options, {}, 'rebuild', async (home) => {
    const { tables } = home.paths;
    const nothingToCompare = (trouble: string) => output.say(`${trouble}\nThere are no tables to compare with`);
    /** What an action finds in the lake's tables; null, with a message, if it meets damage. */
    const inLake = <T>(action: () => Promise<T | null>) =>
      unlessDamaged(tables, action, ({ message }) => {
        nothingToCompare(message);
        return null;
      });
    const trouble = await home.tablesTrouble();
    const lock = await home.ledger.lock();
    if (lock !== null && trouble === null)
      throw new UsageError(`a run of ${options.lake} is half done; "stedi run" finishes it, then rebuild`);
    if (lock !== null) home.executions.closeIfKilled(lock.runId); // its tables are gone: nothing can finish it
    if (trouble !== null) nothingToCompare(trouble);
    output.say(`Building all tables from landing in a separate place; those of ${options.lake} stay as they are meanwhile`);
    const beside = rebuildFolder(options.lake);
    mkdirSync(beside);
    try {
      const loads = trouble === null ? await inLake(() => loadsOf(home)) : null;
      const lake = { loaded: new Map([...(await loadedFiles(home.ledger)), ...(loads ?? [])]), held: await home.ledger.held() };
      const built = await buildBeside(beside, home.paths.landing, lake, { options, output });
      home.close();
      const rebuilt = lakePaths(beside).tables;
      const compared = loads === null ? null : await inLake(() => compareTables(tables, rebuilt));
      const isCompared = compared !== null;
      const result = resultOf(built, compared ?? (await compareTables(null, rebuilt)), isCompared, { replace, forget });
      const { differs, replaced, held, noLongerHeld, unread, gone, returning, comparisons } = result;
      if (replaced) replaceTables(options.lake);
      output.result({ replaced, differs, held, noLongerHeld, unread, gone, returning, tables: comparisons }, () =>
        resultText(result),
      );
      return (differs && !replaced) || held.length > 0 || unread.length > 0 ? 1 : 0;
    } finally {
      // The next command finishes a replacement that was interrupted.
      if (!isReplacing(options.lake)) rmSync(beside, { recursive: true, force: true });
    }
  });
}

/** @param isCompared whether there were tables to compare with */
function resultOf(built: Built, compared: Compared, isCompared: boolean, { replace, forget }: RebuildFlags): Rebuilt {
  const { comparisons, returning } = compared;
  const differs = comparisons.some((each) => each.gone > 0 || each.new > 0);
  const losesRecords = built.gone.length > 0 && comparisons.some((each) => isStaging(each.table) && each.gone > 0);
  // If the tables are lost, nobody knows what only they held.
  const mayLose = isCompared ? losesRecords : built.gone.length > 0;
  // A withdrawal accepted when it came may also be rejected today.
  const isPoorer = built.losesLoaded || ((mayLose || returning > 0) && !forget);
  const replaced = replace && !isPoorer;
  return { ...built, ...compared, differs, isPoorer, replaced, fate: fateOf(isCompared, mayLose, replaced) };
}

function fateOf(isCompared: boolean, mayLose: boolean, replaced: boolean): string {
  if (!mayLose) return NOT_MISSED;
  if (isCompared) return replaced ? FORGOTTEN : KEPT;
  return replaced ? LOST : `${LOST}; ${BACK}`;
}

/** Runs the whole pipeline over a lake's landing folder into a lake of its own. */
async function buildBeside(
  folder: string,
  landing: string,
  lake: { loaded: ReadonlyMap<string, string>; held: readonly LedgerFile[] },
  { options, output }: CommandContext,
): Promise<Built> {
  const settings = loadSettings(options);
  const { log, unread } = noticingUnread(progress(output));
  const home = new LocalHome({ folder, landing, settings, log });
  try {
    await home.announceLanding();
    await home.executions.drain();
    const reasons = { held: new Map<string, string>(), unread: new Map(unread) };
    for await (const { key, state, why } of home.ledger.files()) {
      if (state === 'held') reasons.held.set(key, why ?? '');
      else if (state !== 'loaded') reasons.unread.set(key, 'the run that should have loaded it failed');
    }
    if (home.ended.length === 0)
      throw new LakeUnusableError(`nothing could be rebuilt: ${landing} holds no file that can be read. The lake is as it was`);
    if (home.ended.every(({ status }) => status === 'FAILED')) {
      const error = home.ended.at(-1)?.error ?? '';
      const advice = error.startsWith(GateFailedError.name) ? ` ${RAISED}` : '';
      throw new LakeUnusableError(`nothing could be rebuilt: ${error}. The lake is as it was.${advice}`);
    }
    const rebuilt = await loadedFiles(home.ledger);
    const gone = [...lake.loaded].filter(([id, key]) => !rebuilt.has(id) && !reasons.held.has(key) && !reasons.unread.has(key));
    const keys = new Set(lake.loaded.values());
    const reasoned = (found: ReadonlyMap<string, string>) => [...found].map(([file, why]) => ({ file, why }));
    return {
      held: reasoned(reasons.held),
      unread: reasoned(reasons.unread),
      noLongerHeld: lake.held
        .filter((file) => rebuilt.has(versionName(file)))
        .map(({ key, why }) => ({ file: key, why: why ?? '' })),
      gone: gone.map(([, key]) => key),
      losesLoaded: [...reasons.held.keys(), ...reasons.unread.keys()].some((key) => keys.has(key)),
    };
  } finally {
    home.close();
  }
}

/** The keys of loaded file versions, by key and version. */
async function loadedFiles(ledger: Pick<Ledger, 'files'>): Promise<Map<string, string>> {
  const loaded = new Map<string, string>();
  for await (const { key, version, state } of ledger.files())
    if (state === 'loaded') loaded.set(versionName({ key, version }), key);
  return loaded;
}

/** The same as the lake itself knows it: its ledger may be new. Null if no run was published. */
async function loadsOf(home: LocalHome): Promise<Map<string, string> | null> {
  if ((await home.ports.lake.publishedRun()) === null) return null;
  const { aside } = await home.session();
  const loads = await rowsOf(aside, 'select file, version from loads', z.object({ file: z.string(), version: z.string() }));
  return new Map(loads.map(({ file, version }) => [versionName({ key: file, version }), file]));
}

const isStaging = (table: string): boolean => STAGING_TABLES.some((each) => each === table);

function sameText(missing: number): string {
  return missing === 0 ? 'The tables match what landing gives' : 'The tables match what the other files give';
}

function resultText({
  comparisons,
  differs,
  replaced,
  returning,
  held,
  unread,
  gone,
  isPoorer,
  fate,
  noLongerHeld,
}: Rebuilt): string {
  const done = replaced ? 'Replaced' : 'Nothing was replaced';
  const advice = isPoorer
    ? ': the lake has loaded records that the rebuilt tables may lack'
    : differs && !replaced
      ? '; to replace the tables: "stedi rebuild --replace"'
      : '';
  return [
    table(
      ['table', 'rows', 'rebuilt', 'only in the lake', 'only rebuilt'],
      comparisons.map((each) => [each.table, ...[each.rows, each.rebuilt, each.gone, each.new].map(figure)]),
    ),
    differs
      ? `The tables ${replaced ? 'differed' : 'differ'} from what landing gives today`
      : sameText(held.length + unread.length),
    ...(held.length > 0 ? [`${listedWithReasons('Held while rebuilding', held)}\n${RAISED}`] : []),
    ...(noLongerHeld.length > 0
      ? [listedWithReasons('Held in the lake, but loaded here, where all files are judged together', noLongerHeld)]
      : []),
    ...(unread.length > 0 ? [listedWithReasons('Not read', unread)] : []),
    ...(gone.length > 0
      ? [`${listed('Loaded before, but no longer in landing as they were (deleted, overwritten or rewritten)', gone)}\n${fate}`]
      : []),
    ...(returning > 0
      ? [
          `${figure(returning)} of the people who withdrew their consent ${replaced ? 'are back: their withdrawals are lost' : 'would be back, because the rebuilt tables lack their withdrawals; to do that on purpose: "stedi rebuild --replace --forget"'}`,
        ]
      : []),
    `${done}${advice}`,
  ].join('\n\n');
}
