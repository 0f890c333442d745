import path from 'node:path';
import { figure } from '../../functions/core/textTable.ts';
import { generate } from '../generate.ts';
import { lakePaths } from '../home.ts';
import { FolderLanding } from '../landing.ts';
import type { CommandContext } from '../lake.ts';
import { run } from './run.ts';

/** `npm start`: sample data where there is none, a run, and what to try next. */
export async function start(context: CommandContext): Promise<number> {
  const { landing } = lakePaths(context.options.lake);
  const folder = new FolderLanding(landing);
  const own = new Set<string>();
  if ((await keysOf(folder)).length === 0) {
    const { files, records } = await generate({ out: landing });
    const total = Object.values(records).reduce((sum, count) => sum + count, 0);
    for (const key of await keysOf(folder)) own.add(key);
    context.output.say(`Sample data: ${files} files, ${figure(total)} records in ${landing}\n`);
  }
  const code = await run(context, [], own);
  if (!context.output.json) context.output.say(nextSteps(context.options.lake));
  return code;
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
