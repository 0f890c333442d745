import { z } from 'zod';

/** What Node calls an error of the system (`ENOENT`), of zlib, or of its own; an empty text where it calls it nothing. */
export function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
}

/** Whether there is nothing at a path: also where a link leads nowhere, or to itself. */
export function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(codeOf(error));
}

/** The file or folder that an error of the operating system is about; a copy fails at its target, for its source was tried before. */
export function pathOf(error: unknown): string | null {
  const { dest, path } = z.object({ dest: z.string().optional(), path: z.string().optional() }).safeParse(error).data ?? {};
  return dest ?? path ?? null;
}
