import { accessSync, constants } from 'node:fs';
import { z } from 'zod';

/** Node's code for an error of the system (`ENOENT`), of zlib, or of its own; an empty text if it has none. */
export function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
}

/** Whether nothing is at a path, also if a link leads nowhere or to itself. */
export function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(codeOf(error));
}

/** Whether a place is there but may not be written. */
export function mayOnlyBeRead(place: string): boolean {
  try {
    accessSync(place, constants.W_OK);
    return false;
  } catch (error) {
    return ['EACCES', 'EROFS'].includes(codeOf(error));
  }
}

/** The file or folder that an operating system error is about; a copy fails at its target, as its source was tried before. */
export function pathOf(error: unknown): string | null {
  const { dest, path } = z.object({ dest: z.string().optional(), path: z.string().optional() }).safeParse(error).data ?? {};
  return dest ?? path ?? null;
}
