import { LakeUnusableError, messageOf, NamedError, TablesDamagedError } from '../../functions/core/errors.ts';

/** What to do when the tables file is lost or damaged. */
export const REBUILD_ADVICE = '"stedi rebuild --replace" builds all tables anew from landing';

/** What DuckDB says on opening a file that is no database, is cut short, or holds other bytes than were written. */
const DAMAGED = /not a valid DuckDB database|not read enough bytes|corrupt|checksum|serializ/i;

/** The same for a block it meets later, distinct from errors of other kinds, which may quote any words. */
const DAMAGED_WITHIN = /^(?:IO|FATAL|TransactionContext) Error: .*(?:Corrupt database file|not read enough bytes)/is;

/** Whether DuckDB or SQLite says there is no room to write. DuckDB also says so at a limit on its folder for what does not fit into memory. */
export function saysFull(error: unknown): boolean {
  return /No space left|disk quota exceeded|disk is full|max_temp_directory_size/i.test(saidBy(error));
}

/** What an error says, without the names it quotes: a folder may be called anything. */
function saidBy(error: unknown): string {
  return messageOf(error).replace(/"[^"]*"/g, '""');
}

/** The trouble with a tables file that can't be opened; null when the error says something else. */
export function damageAtOpening(file: string, error: unknown): TablesDamagedError | null {
  const text = messageOf(error);
  return DAMAGED.test(saidBy(error))
    ? new TablesDamagedError(`${file} can't be opened: ${firstLine(text)}; ${REBUILD_ADVICE}`, { cause: error })
    : null;
}

/** The damage that a statement on an open tables file met; null when the error says something else. */
export function damageOf(file: string, error: unknown): TablesDamagedError | null {
  if (error instanceof TablesDamagedError) return error;
  const text = messageOf(error);
  if (error instanceof NamedError || saysFull(error) || !DAMAGED_WITHIN.test(saidBy(error))) return null;
  const isOther = text.includes('read enough bytes') && !text.includes(`"${file}"`);
  return isOther ? null : new TablesDamagedError(`${file} is damaged: ${firstLine(text)}; ${REBUILD_ADVICE}`, { cause: error });
}

/** What is wrong with an open tables file: damaged, or no room to write; null when the error says something else. */
export function troubleWith(file: string, error: unknown): LakeUnusableError | null {
  if (!(error instanceof NamedError) && saysFull(error))
    return new LakeUnusableError(`${firstLine(messageOf(error))}; free space, then run again: nothing was lost`, {
      cause: error,
    });
  return damageOf(file, error);
}

/** What an action on a tables file returns, or `otherwise` for the damage it meets. */
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
