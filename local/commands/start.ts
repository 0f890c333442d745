import path from 'node:path';
import { generate } from '../generate.ts';
import { lakePaths } from '../home.ts';
import { FolderLanding } from '../landing.ts';
import type { CommandContext } from '../lake.ts';
import { run } from './run.ts';

/** `npm start`: sample data where there is none, a run, and what to try next. */
export async function start(context: CommandContext): Promise<number> {
  const { landing } = lakePaths(context.options.lake);
  if (await isEmpty(new FolderLanding(landing))) {
    const { files, records } = await generate({ out: landing });
    const total = Object.values(records).reduce((sum, count) => sum + count, 0);
    context.output.say(`Sample data: ${files} files, ${total.toLocaleString('en-US')} records in ${landing}\n`);
  }
  const code = await run(context, []);
  if (!context.output.json) context.output.say(nextSteps(context.options.lake));
  return code;
}

async function isEmpty(landing: FolderLanding): Promise<boolean> {
  for await (const page of landing.list()) if (page.length > 0) return false;
  return true;
}

function nextSteps(lake: string): string {
  const at = path.normalize(lake) === 'lake' ? '' : ` --lake ${lake}`;
  return `
Try next:
  npx stedi query "select reading_date, count(*) as readings from machine_learning_curated group by 1"${at}
  npx stedi run --set consentFrom=consent-date${at}
  npx stedi watch${at}        then copy a file into ${lakePaths(lake).landing}/customer_landing`;
}
