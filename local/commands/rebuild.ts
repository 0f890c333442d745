import { mkdirSync, rmSync } from 'node:fs';
import { UsageError } from '../../functions/core/errors.ts';
import { contractOf } from '../../functions/core/contracts.ts';
import { figure, table } from '../../functions/core/renderReport.ts';
import { MODEL_TABLES, STAGING_TABLES } from '../../functions/core/steps.ts';
import { countOf, literal, openSession } from '../duckdb/session.ts';
import { lakePaths, LocalHome } from '../home.ts';
import { loadSettings, requireLake, withLake } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import { progress } from '../output.ts';
import { rebuildFolder, replaceTables } from '../replaceTables.ts';

interface Comparison {
  table: string;
  rows: number;
  rebuilt: number;
  /** Rows that only the lake has, and rows that only the rebuilt tables have. */
  gone: number;
  new: number;
}

/** Builds every table anew from landing, compares with what is there, and replaces it only if asked. */
export async function rebuild({ options, output }: CommandContext, replace: boolean): Promise<number> {
  requireLake(options.lake);
  return withLake(options, {}, 'rebuild', async (home) => {
    if ((await home.ledger.lock()) !== null)
      throw new UsageError(`a run of ${options.lake} is half done; "stedi run" finishes it, then rebuild`);
    const beside = rebuildFolder(options.lake);
    rmSync(beside, { recursive: true, force: true });
    mkdirSync(beside);
    try {
      const held = await buildBeside(beside, home.paths.landing, { options, output });
      const comparisons = await compare(home.paths.tables, lakePaths(beside).tables);
      const differs = comparisons.some((each) => each.gone > 0 || each.new > 0);
      if (replace) {
        home.close();
        replaceTables(options.lake);
      }
      output.result({ replaced: replace, differs, held, tables: comparisons }, () =>
        comparisonText(comparisons, differs, replace, held),
      );
      return held.length > 0 ? 1 : 0;
    } finally {
      rmSync(beside, { recursive: true, force: true });
    }
  });
}

/** Runs the whole pipeline over the lake's landing folder into a lake of its own; answers what was held. */
async function buildBeside(folder: string, landing: string, { options, output }: CommandContext): Promise<string[]> {
  const settings = loadSettings(options);
  const home = new LocalHome({ folder, landing, settings, log: progress(output) });
  try {
    await home.announceLanding();
    await home.executions.drain();
    const held: string[] = [];
    for await (const { key, state, why } of home.ledger.files()) if (state === 'held') held.push(`${key}: ${why ?? ''}`);
    if (home.ended.every(({ status }) => status === 'FAILED')) {
      throw new UsageError(
        `nothing could be rebuilt: ${home.ended.at(-1)?.error ?? 'landing holds no file'}. The lake is as it was`,
      );
    }
    return held;
  } finally {
    home.close();
  }
}

async function compare(current: string, rebuilt: string): Promise<Comparison[]> {
  const session = await openSession(rebuilt, `${rebuilt}.tmp`);
  try {
    await session.run.run(`attach ${literal(current)} as lake (read_only)`);
    const comparisons: Comparison[] = [];
    for (const name of [...STAGING_TABLES, ...MODEL_TABLES]) {
      const columns = contractOf(name)
        .columns.map((column) => `"${column.name}"`)
        .join(', ');
      const [there, here] = [`select ${columns} from lake.main.${name}`, `select ${columns} from main.${name}`];
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

function comparisonText(
  comparisons: readonly Comparison[],
  differs: boolean,
  replaced: boolean,
  held: readonly string[],
): string {
  return [
    table(
      ['table', 'rows', 'rebuilt', 'only in the lake', 'only rebuilt'],
      comparisons.map((each) => [each.table, ...[each.rows, each.rebuilt, each.gone, each.new].map(figure)]),
    ),
    differs ? 'The tables differ from what landing gives today' : 'The tables are what landing gives',
    ...(held.length > 0 ? [`Held while rebuilding:\n  ${held.join('\n  ')}`] : []),
    replaced ? 'Replaced' : differs ? 'Nothing was replaced; "stedi rebuild --replace" does' : 'Nothing was replaced',
  ].join('\n\n');
}
