/** Per file; records may hold any number of them. */
const MOST_FIELDS = 1000;

/**
 * The names of unknown fields that are noted for a file: those that look like column names. A name in JSON may be anything, even an e-mail
 * address that records are keyed by, and what is noted goes into logs and the data catalog (docs/records.md).
 */
export class NotedFields {
  readonly #names = new Set<string>();

  constructor(names: Iterable<string> = []) {
    this.add(names);
  }

  add(names: Iterable<string>): void {
    for (const name of names)
      if (this.#names.size < MOST_FIELDS && /^[A-Za-z_][A-Za-z0-9_-]{0,63}$/.test(name)) this.#names.add(name);
  }

  list(): string[] {
    return [...this.#names];
  }
}
