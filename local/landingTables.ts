import type { DatabaseSync } from 'node:sqlite';
import type { LandingTable } from '../functions/core/steps.ts';
import type { LandingTables } from '../functions/ports.ts';

/** The landing tables of the data catalog: those of the contracts, and the columns that files brought besides. */
export class SqliteLandingTables implements LandingTables {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
    database.exec(
      'create table if not exists landing_columns (landing_table text not null, name text not null, primary key (landing_table, name)) strict',
    );
  }

  async ensure(table: LandingTable, extraColumns: readonly string[]): Promise<void> {
    const insert = this.#database.prepare('insert or ignore into landing_columns values (?, ?)');
    for (const name of extraColumns) insert.run(table, name);
  }

  /** Columns of a landing table that its contract does not have. */
  extraColumns(table: LandingTable): string[] {
    return this.#database
      .prepare('select name from landing_columns where landing_table = ? order by name')
      .all(table)
      .map(({ name }) => String(name));
  }
}
