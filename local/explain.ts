import path from 'node:path';
import { CommanderError } from 'commander';
import { messageOf, NamedError } from '../functions/core/errors.ts';
import { saysFull, troubleWith } from './duckdb/trouble.ts';
import { codeOf, mayOnlyBeRead, pathOf } from './systemErrors.ts';
import { isBelow } from './isBelow.ts';
import type { CommonOptions } from './lake.ts';
import { lakePaths } from './lakePaths.ts';

/** Operating system error codes for a lake that can't be read or written. */
const UNUSABLE = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'EDQUOT', 'EIO']);

/** The read-only parts of a lake's folder and ledger; the folder if none can be told. SQLite keeps two files beside the ledger. */
function readOnlyPaths(lake: string): string[] {
  const { folder, ledger } = lakePaths(lake);
  const found = [folder, ledger, `${ledger}-wal`, `${ledger}-shm`].filter(mayOnlyBeRead);
  return found.length > 0 ? found : [folder];
}

/** What a person reads: what is wrong and what to do next, without a stack. */
export function explained(error: unknown, { lake, stage }: Pick<CommonOptions, 'lake' | 'stage'>): string {
  if (error instanceof CommanderError && error.code === 'commander.help') return 'expected a command; "stedi --help" shows them';
  const text = messageOf(error);
  if (error instanceof NamedError || error instanceof CommanderError) return text;
  const code = codeOf(error);
  const at = pathOf(error);
  if (code === 'ENOTDIR' || code === 'EEXIST')
    return `${at ?? lake}: expected a folder, but a file or a link that leads nowhere is in the way; move it away`;
  if (UNUSABLE.has(code) && at !== null && !isBelow(lake, at))
    return `${at} can't be read or written: ${text}. Fix its permissions or free space, then try again`;
  if (stage !== undefined) return unexplained(text);
  // A command that writes marks the lake as its own first, in hidden files.
  const isMark = at !== null && path.basename(at).startsWith('.') && path.resolve(path.dirname(at)) === path.resolve(lake);
  if (/readonly database/i.test(text) || ((isMark || /unable to open database file/i.test(text)) && mayOnlyBeRead(lake)))
    return `The lake ${lake} is read-only here, but this command keeps a ledger in it: ask for permission to write ${readOnlyPaths(lake).join(', ')}; "stedi query" and "stedi rejects" only read`;
  if (/file is not a database|disk image is malformed/i.test(text))
    return `${lakePaths(lake).ledger} is damaged: ${text}. Move it away, together with its -wal and -shm files; "stedi run" registers landing again, and no record is staged twice`;
  if (UNUSABLE.has(code) || saysFull(error) || /unable to open database file|disk I\/O error/i.test(text))
    return `The lake ${lake} can't be read or written: ${text}. Free space or fix its permissions, then run again; nothing was lost`;
  return troubleWith(lakePaths(lake).tables, error)?.message ?? unexplained(text);
}

function unexplained(text: string): string {
  return `${text}\n(set STEDI_DEBUG=1 to see where this comes from)`;
}
