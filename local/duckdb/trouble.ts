import { LakeUnusableError, messageOf, TablesDamagedError } from '../../functions/core/errors.ts';

/** What to do when the tables file is lost or damaged. */
export const REBUILD_ADVICE = '"stedi rebuild --replace" builds all tables anew from landing';

/** What DuckDB says of a file that is no database, is cut short, or holds other bytes than were written, when it opens it. */
const DAMAGED = /not a valid DuckDB database|not read enough bytes|corrupt|checksum|serializ/i;

/** The same of a block that it comes to later. */
const DAMAGED_WITHIN = /Corrupt database file|not read enough bytes/i;

/** Whether an error of DuckDB or SQLite says that there is no room to write. */
export function saysFull(text: string): boolean {
  return /No space left|disk quota exceeded|disk is full/i.test(text);
}

/** The trouble with a tables file that can't be opened; null when the error says something else. */
export function damageAtOpening(file: string, error: unknown): TablesDamagedError | null {
  const text = messageOf(error);
  return DAMAGED.test(text) ? new TablesDamagedError(`${file} can't be opened: ${firstLine(text)}; ${REBUILD_ADVICE}`) : null;
}

/** The damage that a statement on an open tables file came to; null when the error says something else. */
export function damageOf(file: string, error: unknown): TablesDamagedError | null {
  if (error instanceof TablesDamagedError) return error;
  const text = messageOf(error);
  if (saysFull(text) || !DAMAGED_WITHIN.test(text)) return null;
  return new TablesDamagedError(`${file} is damaged: ${firstLine(text)}; ${REBUILD_ADVICE}`);
}

/** What is wrong with an open tables file: damaged, or no room to write; null when the error says something else. */
export function troubleWith(file: string, error: unknown): LakeUnusableError | null {
  const text = messageOf(error);
  if (!(error instanceof TablesDamagedError) && saysFull(text))
    return new LakeUnusableError(`${firstLine(text)}; free space, then run again: nothing was lost`);
  return damageOf(file, error);
}

/** What an action makes of a tables file, or `otherwise` of the damage that it comes to. */
export async function unlessDamaged<T>(
  file: string,
  action: () => Promise<T>,
  otherwise: (damage: TablesDamagedError) => T,
): Promise<T> {
  try {
    return await action();
  } catch (error) {
    const damage = damageOf(file, error);
    if (damage === null) throw error;
    return otherwise(damage);
  }
}

/** DuckDB's errors go on for lines, with its own advice. */
export function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? text;
}
