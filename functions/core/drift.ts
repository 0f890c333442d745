/** Of one file; records may hold any number of them. */
const MOST_FIELDS = 1000;

/**
 * Names of unknown fields that are noted: those that look like names of columns. Anything may stand as a name in JSON, as who keys records by
 * e-mail shows, and what is noted goes into logs and the data catalog (docs/records.md).
 */
export function notedFields(names: Iterable<string>): string[] {
  return [...new Set(names)].filter((name) => /^[A-Za-z_][A-Za-z0-9_-]{0,63}$/.test(name)).slice(0, MOST_FIELDS);
}
