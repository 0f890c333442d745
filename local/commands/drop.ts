import { dropFiles } from '../dropFiles.ts';
import { lakePaths } from '../lakePaths.ts';
import { makeLakeFolder } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import { droppedFilesText, dropsInto } from '../views/drops.ts';

/** Puts files into one landing folder, as `aws s3 cp` would. They wait for `run` or `watch`. */
export async function drop({ options, output }: CommandContext, table: string, files: readonly string[]): Promise<number> {
  const drops = await dropsInto(table, files);
  makeLakeFolder(options.lake);
  const dropped = await dropFiles(lakePaths(options.lake).landing, drops);
  output.result(dropped, () => droppedFilesText(dropped));
  return 0;
}
