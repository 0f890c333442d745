import { stat } from 'node:fs/promises';
import { UsageError } from '../../functions/core/errors.ts';
import { isLandingTable, LANDING_TABLES } from '../../functions/core/steps.ts';
import { dropFiles } from '../dropFiles.ts';
import { lakePaths } from '../home.ts';
import type { CommandContext } from '../lake.ts';

/** Puts files into one landing folder, as `aws s3 cp` would. They wait for `run` or `watch`. */
export async function drop({ options, output }: CommandContext, table: string, files: readonly string[]): Promise<number> {
  if (!isLandingTable(table)) throw new UsageError(`${table} is no landing table; expected one of ${LANDING_TABLES.join(', ')}`);
  for (const file of files) {
    const found = await stat(file).catch(() => null);
    if (found?.isFile() !== true) throw new UsageError(`${file} is no file; nothing was copied`);
  }
  const dropped = await dropFiles(
    lakePaths(options.lake).landing,
    files.map((file) => ({ table, file })),
  );
  output.result(dropped, () =>
    dropped.map(({ key, added }) => `${key}${added ? '' : '  (stood there already, with the same content)'}`).join('\n'),
  );
  return 0;
}
