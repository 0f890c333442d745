import { mkdirSync, rmSync } from 'node:fs';
import { GateFailedError, LakeUnusableError, UsageError } from '../../functions/core/errors.ts';
import { contractOf } from '../../functions/core/contracts.ts';
import { figure, table } from '../../functions/core/renderReport.ts';
import { MODEL_TABLES, STAGING_TABLES } from '../../functions/core/steps.ts';
import { countOf, literal, openSession } from '../duckdb/session.ts';
import { lakePaths, LocalHome } from '../home.ts';
import { loadSettings, requireLake, withLake } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import { noticingUnread, progress } from '../output.ts';
import { isReplacing, rebuildFolder, replaceTables } from '../replaceTables.ts';

interface Comparison {
  table: string;
  rows: number;
  rebuilt: number;
  /** Rows that only the lake has, and rows that only the rebuilt tables have. */
  gone: number;
  new: number;
}

/** What landing did not give, each with its reason: files that were held, and files that were not read. */
interface Built {
  held: string[];
  unread: string[];
  /** Whether the lake has loaded any of these: then to replace its tables would lose records. */
  isPoorer: boolean;
}

/**
 * Builds every table anew from landing, compares with what is there, and replaces it only if asked. Exit code 1 when the tables differ and
 * stay, or when a file is missing from what was built.
 */
export async function rebuild({ options, output }: CommandContext, replace: boolean): Promise<number> {
  requireLake(options.lake);
  return withLake(options, {}, 'rebuild', async (home) => {
    const trouble = await home.tablesTrouble();
    const lock = await home.ledger.lock();
    if (lock !== null && trouble === null)
      throw new UsageError(`a run of ${options.lake} is half done; "stedi run" finishes it, then rebuild`);
    if (lock !== null) await home.executions.status(lock.runId); // a run that was killed with the tables gone: nobody can finish it
    if (trouble !== null) output.say(`${home.paths.tables} is lost or damaged: there is nothing to compare with`);
    const beside = rebuildFolder(options.lake);
    rmSync(beside, { recursive: true, force: true });
    mkdirSync(beside);
    try {
      const built = await buildBeside(beside, home, { options, output });
      const isPublished = trouble === null && (await home.ports.lake.publishedRun()) !== null;
      home.close();
      const comparisons = await compare(isPublished ? home.paths.tables : null, lakePaths(beside).tables);
      const differs = comparisons.some((each) => each.gone > 0 || each.new > 0);
      const { held, unread, isPoorer } = built;
      const replaced = replace && !isPoorer;
      if (replaced) replaceTables(options.lake);
      output.result({ replaced, differs, held, unread, tables: comparisons }, () =>
        comparisonText(comparisons, differs, replaced, built),
      );
      return (differs && !replaced) || held.length > 0 || unread.length > 0 ? 1 : 0;
    } finally {
      // A replacement that has begun and broke off is finished by the next command.
      if (!isReplacing(options.lake)) rmSync(beside, { recursive: true, force: true });
    }
  });
}

/** Runs the whole pipeline over a lake's landing folder into a lake of its own. */
async function buildBeside(folder: string, { ledger, paths }: LocalHome, { options, output }: CommandContext): Promise<Built> {
  const settings = loadSettings(options);
  const { landing } = paths;
  const loaded = new Set<string>();
  for await (const { key, state } of ledger.files()) if (state === 'loaded') loaded.add(key);
  const { log, unread } = noticingUnread(progress(output));
  const home = new LocalHome({ folder, landing, settings, log });
  try {
    await home.announceLanding();
    await home.executions.drain();
    const reasons = { held: new Map<string, string>(), unread: new Map(unread) };
    for await (const { key, state, why } of home.ledger.files()) {
      if (state === 'held') reasons.held.set(key, why ?? '');
      else if (state !== 'loaded') reasons.unread.set(key, 'the run that was to load it failed');
    }
    if (home.ended.length === 0)
      throw new LakeUnusableError(`nothing could be rebuilt: ${landing} holds no file that can be read. The lake is as it was`);
    if (home.ended.every(({ status }) => status === 'FAILED'))
      throw new GateFailedError(`nothing could be rebuilt: ${home.ended.at(-1)?.error ?? ''}. The lake is as it was. ${RAISED}`);
    const texts = (found: ReadonlyMap<string, string>) => [...found].map(([key, why]) => `${key}: ${why}`);
    return {
      held: texts(reasons.held),
      unread: texts(reasons.unread),
      isPoorer: [...reasons.held.keys(), ...reasons.unread.keys()].some((key) => loaded.has(key)),
    };
  } finally {
    home.close();
  }
}

/** `current` is null where there are no tables to compare with: every row is new then. */
async function compare(current: string | null, rebuilt: string): Promise<Comparison[]> {
  const session = await openSession(rebuilt, `${rebuilt}.tmp`);
  try {
    if (current !== null) await session.run.run(`attach ${literal(current)} as lake (read_only)`);
    const comparisons: Comparison[] = [];
    for (const name of [...STAGING_TABLES, ...MODEL_TABLES]) {
      const columns = contractOf(name)
        .columns.map((column) => `"${column.name}"`)
        .join(', ');
      const here = `select ${columns} from main.${name}`;
      const there = current === null ? `${here} where false` : `select ${columns} from lake.main.${name}`;
      comparisons.push({
        table: name,
        rows: await countOf(session.run, `(${there})`),
        rebuilt: await countOf(session.run, `(${here})`),
        gone: await countOf(session.run, `(${there} except all ${here})`),
        new: await countOf(session.run, `(${here} except all ${there})`),
      });
    }
    return comparisons;
  } finally {
    session.close();
  }
}

/** A file that was accepted with a setting for one call is judged by the settings of this call. */
const RAISED = 'A limit that was raised when a file was taken in must be raised here too, for example --set maxRejectRatio=1';

function outcomeOfSame(missing: number): string {
  return missing === 0 ? 'The tables are what landing gives' : 'The tables are what the other files give';
}

function comparisonText(
  comparisons: readonly Comparison[],
  differs: boolean,
  replaced: boolean,
  { held, unread, isPoorer }: Built,
): string {
  const outcome = replaced ? 'Replaced' : 'Nothing was replaced';
  const advice = isPoorer
    ? ': the lake has loaded a file that the rebuilt tables lack'
    : differs && !replaced
      ? '; "stedi rebuild --replace" does'
      : '';
  return [
    table(
      ['table', 'rows', 'rebuilt', 'only in the lake', 'only rebuilt'],
      comparisons.map((each) => [each.table, ...[each.rows, each.rebuilt, each.gone, each.new].map(figure)]),
    ),
    differs ? 'The tables differ from what landing gives today' : outcomeOfSame(held.length + unread.length),
    ...(held.length > 0 ? [`Held while rebuilding:\n  ${held.join('\n  ')}\n${RAISED}`] : []),
    ...(unread.length > 0 ? [`Not read:\n  ${unread.join('\n  ')}`] : []),
    `${outcome}${advice}`,
  ].join('\n\n');
}
