import { existsSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { lakePaths } from './lakePaths.ts';

/** Where a lake is rebuilt, beside its tables. */
export function rebuildFolder(lake: string): string {
  return path.join(lake, 'rebuild');
}

/** Written before the first table is replaced: from there the only way is forward. */
function marker(lake: string): string {
  return path.join(rebuildFolder(lake), 'replacing');
}

/** Whether a replacement has begun but not ended: a process is at it, or was killed. */
export function isReplacing(lake: string): boolean {
  return existsSync(marker(lake));
}

/** Puts the rebuilt tables, ledger entries and runs in place of the lake's. */
export function replaceTables(lake: string): void {
  writeFileSync(marker(lake), '');
  finishReplacing(lake);
}

/** Resumes an interrupted replacement; each of its steps can be repeated. Removes what a killed rebuild has left. */
export function finishReplacing(lake: string): void {
  if (!isReplacing(lake)) {
    rmSync(rebuildFolder(lake), { recursive: true, force: true });
    return;
  }
  const [to, from] = [lakePaths(lake), lakePaths(rebuildFolder(lake))];
  for (const runId of readdirSync(from.runs)) renameSync(path.join(from.runs, runId), path.join(to.runs, runId));
  if (existsSync(from.tables)) {
    rmSync(`${to.tables}.wal`, { force: true }); // the new tables must not take in what the old ones had yet to
    renameSync(from.tables, to.tables);
  }
  adoptLedger(to.ledger, from.ledger);
  rmSync(marker(lake)); // done; what is left of the folder is removed here or by the next rebuild
  rmSync(rebuildFolder(lake), { recursive: true });
}

/** Puts another ledger's file records and published run in place of a ledger's own, and adds its executions; afterwards no run is in progress. */
function adoptLedger(ledger: string, from: string): void {
  const database = new DatabaseSync(ledger, { timeout: 10_000 });
  try {
    database.prepare('attach ? as rebuilt').run(from);
    database.exec(`
      begin immediate;
      delete from files; insert into files select * from rebuilt.files;
      delete from published; insert into published select * from rebuilt.published;
      insert or ignore into executions select * from rebuilt.executions order by rowid;
      update run_lock set run_id = null, publishing = 0;
      commit;`);
  } finally {
    database.close();
  }
}
