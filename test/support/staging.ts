import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { openSession } from '../../local/duckdb/session.ts';
import type { Session } from '../../local/duckdb/session.ts';
import { read, stage } from '../../local/duckdb/staging.ts';
import { ensureTables } from '../../local/duckdb/tables.ts';
import { sorted } from '../reference/index.ts';
import type { LandedFile, Row } from '../reference/index.ts';
import { rowsOfTable } from './tables.ts';

export const STAGED = ['customer_staging', 'accelerometer_staging', 'step_trainer_staging', 'rejected', 'loads'] as const;
/** Each table as a sorted list of its rows' texts. */
export type StagedTables = Record<string, string[]>;

/** Stages landed files without the rest of a run: each call in its own lake, removed afterwards. */
export class StagingBench {
  readonly #folder: string;
  readonly #session: Session;

  private constructor(folder: string, session: Session) {
    this.#folder = folder;
    this.#session = session;
  }

  static async open(folder: string): Promise<StagingBench> {
    const session = await openSession(path.join(folder, 'tables.duckdb'), path.join(folder, 'spill'));
    await ensureTables(session.connection);
    return new StagingBench(folder, session);
  }

  close(): void {
    this.#session.close();
  }

  /** The staged tables; versions stay as given. */
  async stage(files: readonly LandedFile[], runId: string): Promise<StagedTables> {
    const [landingRoot, scratchFolder, runFolder] = [this.#emptied('landing'), this.#emptied('scratch'), this.#emptied('run')];
    const inOrder = files.toSorted((one, other) => Buffer.compare(Buffer.from(one.key), Buffer.from(other.key)));
    const claim = inOrder.map(({ table, key, bytes }) => {
      const file = path.join(landingRoot, key);
      mkdirSync(path.dirname(file), { recursive: true });
      writeFileSync(file, bytes);
      const { size, mtimeNs } = statSync(file, { bigint: true });
      return { table, key, version: `${size}-${mtimeNs}`, size: Number(size), input: null };
    });
    const { connection } = this.#session;
    const context = { session: this.#session, runId, landingRoot, scratchFolder, runFolder };
    await connection.run('begin');
    try {
      for (const [table, own] of Map.groupBy(claim, (file) => file.table))
        await stage(context, table, await read(context, table, own));
      const versionOf = new Map(files.map(({ key, version }) => [key, version]));
      return await sortedRows(STAGED, async (table) =>
        (await rowsOfTable(connection, table)).map((row) =>
          'version' in row ? { ...row, version: versionOf.get(String(row['file'])) ?? 'unknown' } : row,
        ),
      );
    } finally {
      await connection.run('rollback');
    }
  }

  #emptied(name: string): string {
    const folder = path.join(this.#folder, name);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    return folder;
  }
}

/** Tables as sorted lists of row texts, for comparison. */
export async function sortedRows<Table extends string>(
  tables: readonly Table[],
  rows: (table: Table) => Promise<readonly Row[]> | readonly Row[],
): Promise<StagedTables> {
  const found: StagedTables = {};
  for (const table of tables) found[table] = sorted(await rows(table));
  return found;
}
