import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { LANDING_TABLES } from '../../functions/core/steps.ts';
import { openSession } from '../../local/duckdb/session.ts';
import type { Session } from '../../local/duckdb/session.ts';
import { stage } from '../../local/duckdb/stage.ts';
import { ensureTables } from '../../local/duckdb/tables.ts';
import type { LandedFile } from '../reference/index.ts';
import { sortedTables } from './tables.ts';

export const STAGED = ['customer_staging', 'accelerometer_staging', 'step_trainer_staging', 'rejected', 'loads'] as const;
export type StagedTables = Record<string, string[]>;

/**
 * Stages landed files without the rest of a run: each call in a lake of its own that is gone afterwards. Files are read in the order
 * they are given. Versions come as they were given.
 */
export class StagingBench {
  readonly #folder: string;
  readonly #session: Session;

  private constructor(folder: string, session: Session) {
    this.#folder = folder;
    this.#session = session;
  }

  static async open(folder: string): Promise<StagingBench> {
    const session = await openSession(':memory:', path.join(folder, 'spill'));
    await ensureTables(session.run);
    return new StagingBench(folder, session);
  }

  close(): void {
    this.#session.close();
  }

  async stage(files: readonly LandedFile[], runId: string): Promise<StagedTables> {
    const [landingRoot, scratchFolder, rejectsFolder] = ['landing', 'scratch', 'rejects'].map((name) => this.#emptied(name));
    if (landingRoot === undefined || scratchFolder === undefined || rejectsFolder === undefined) throw new Error('no folder');
    const manifest = files.map(({ table, key, bytes }) => {
      const file = path.join(landingRoot, key);
      mkdirSync(path.dirname(file), { recursive: true });
      writeFileSync(file, bytes);
      const { size, mtimeNs } = statSync(file, { bigint: true });
      return { table, key, version: `${size}-${mtimeNs}`, size: Number(size), input: null };
    });
    const { run } = this.#session;
    await run.run('begin');
    try {
      for (const table of LANDING_TABLES) {
        const own = manifest.filter((file) => file.table === table);
        await stage({ session: this.#session, runId, landingRoot, scratchFolder, rejectsFolder }, table, own);
      }
      for (const [at, { key, version }] of manifest.entries()) {
        for (const table of ['loads', 'rejected'])
          await run.run(`update ${table} set version = $1 where file = $2 and version = $3`, [
            files[at]?.version ?? '',
            key,
            version,
          ]);
      }
      return await sortedTables(run, STAGED);
    } finally {
      await run.run('rollback');
    }
  }

  #emptied(name: string): string {
    const folder = path.join(this.#folder, name);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    return folder;
  }
}
