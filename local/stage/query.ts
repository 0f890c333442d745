import { UsageError } from '../../functions/core/errors.ts';
import type { CommandContext } from '../lake.ts';
import { MOST_SHOWN, rowsText } from '../views/rows.ts';
import { ask } from './athena.ts';
import { withStage } from './stage.ts';

const READING = /^(select|with|values|show|describe|explain(?!\s+analyze))\b/i;

/** Read-only SQL over the tables of a stage, through Athena. */
export async function query({ options, output }: CommandContext, sql: string, out?: string): Promise<number> {
  if (out !== undefined)
    throw new UsageError(
      '--out works only with a lake on this machine; Athena already keeps each answer as CSV: its console shows where',
    );
  const statement = sql.replace(/^(\s|\(|--[^\n]*(\n|$)|\/\*[\s\S]*?\*\/)+/, '');
  if (!READING.test(statement))
    throw new UsageError(`query only reads: expected SQL that begins with select, with, values, show, describe or explain`);
  const { names, rows } = await withStage(options, (stage) => ask(stage, sql, MOST_SHOWN));
  output.result(rows, () => rowsText(names, rows));
  return 0;
}
