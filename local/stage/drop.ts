import type { CommandContext } from '../lake.ts';
import { dropsInto, droppedFilesText } from '../views/drops.ts';
import { dropIntoLanding } from './dropFiles.ts';
import { withStage } from './stage.ts';

/** Puts files into one landing folder of a stage. Their events start a run. */
export async function drop({ options, output }: CommandContext, table: string, files: readonly string[]): Promise<number> {
  const drops = await dropsInto(table, files);
  const dropped = await withStage(options, (stage) => dropIntoLanding(stage, drops));
  const shown = dropped.map(({ key, added }) => ({ key, added }));
  output.result(shown, () => droppedFilesText(shown));
  return 0;
}
