/** What Node calls an error of the system (`ENOENT`), of zlib, or of its own; an empty text where it calls it nothing. */
export function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
}
