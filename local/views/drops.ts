import { stat } from 'node:fs/promises';
import { UsageError } from '../../functions/core/errors.ts';
import { figure, filesText } from '../../functions/core/textTable.ts';
import { isLandingTable, LANDING_TABLES } from '../../functions/core/steps.ts';
import { refuseIgnoredName } from '../dropFiles.ts';
import type { Drop, Dropped } from '../dropFiles.ts';

/** Files that go into one landing table. @throws UsageError when there is no such table or file; nothing is copied then */
export async function dropsInto(table: string, files: readonly string[]): Promise<Drop[]> {
  if (!isLandingTable(table))
    throw new UsageError(`${table} is not a landing table; expected one of ${LANDING_TABLES.join(', ')}`);
  for (const file of files) {
    const found = await stat(file).catch(() => null);
    if (found?.isFile() !== true) throw new UsageError(`${file} is not a file; nothing was copied`);
    refuseIgnoredName(file);
  }
  return files.map((file) => ({ table, file }));
}

/** What dropping did, in one line. */
export function droppedText(dropped: readonly Dropped[]): string {
  const added = dropped.filter((file) => file.added).length;
  const there = dropped.length - added;
  return `Dropped ${filesText(added)} into landing${there > 0 ? `; ${figure(there)} already there, with the same content` : ''}`;
}

/** The same, file by file. */
export function droppedFilesText(dropped: readonly Dropped[]): string {
  return dropped.map(({ key, added }) => `${key}${added ? '' : '  (already there, with the same content)'}`).join('\n');
}
