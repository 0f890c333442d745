import path from 'node:path';
import { figure } from '../../functions/core/textTable.ts';
import { generate } from '../generate.ts';
import { lakePaths } from '../lakePaths.ts';
import type { LocalHome } from '../home.ts';
import type { FolderLanding } from '../landing.ts';
import { withLake } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import type { Output } from '../output.ts';
import { run } from './run.ts';

/** `npm start`: sample data if there is none, a run, and what to try next. */
export async function start(context: CommandContext): Promise<number> {
  const own = await withLake(context.options, {}, 'start', (home) => sampleData(home, context.output));
  const code = await run(context, [], new Set(own));
  if (!context.output.json) context.output.say(nextSteps(context.options.lake));
  return code;
}

/** Makes sample data in an empty landing folder; returns the keys of what it made. */
async function sampleData({ landing }: LocalHome, output: Output): Promise<string[]> {
  if ((await keysOf(landing)).length > 0) return [];
  const { files, records } = await generate({ out: landing.root });
  const total = Object.values(records).reduce((sum, count) => sum + count, 0);
  output.say(`Sample data: ${files} files, ${figure(total)} records in ${landing.root}\n`);
  return keysOf(landing);
}

async function keysOf(landing: FolderLanding): Promise<string[]> {
  const keys: string[] = [];
  for await (const page of landing.list()) keys.push(...page.map(({ key }) => key));
  return keys;
}

function nextSteps(lake: string): string {
  const at = path.normalize(lake) === 'lake' ? '' : ` --lake ${lake}`;
  return `
Try next:
  npx stedi query "select reading_date, count(*) as readings from machine_learning_curated group by 1"${at}
  npx stedi run --set consentFrom=consent-date${at}
  npx stedi watch${at}        then copy a file into ${lakePaths(lake).landing}/customer_landing`;
}
