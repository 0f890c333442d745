import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { REJECTS_ENDING } from '../../functions/core/runFiles.ts';
import type { RejectsFile } from '../keptRejects.ts';
import { isMissing } from '../systemErrors.ts';
import { lakePaths } from '../lakePaths.ts';
import { heldIn } from '../ledger.ts';
import { requireLake } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import { showRejects } from '../views/rejects.ts';
import { chosenRun } from '../views/runs.ts';

/** Rejected records with file, line and reason, those of failed runs too; `--export` writes them back out. */
export async function rejects(
  { options, output }: CommandContext,
  runId: string | undefined,
  exportTo: string | undefined,
): Promise<number> {
  requireLake(options.lake);
  const paths = lakePaths(options.lake);
  await showRejects(await rejectsFiles(paths.runs, runId), heldIn(paths.ledger), exportTo, output);
  return 0;
}

async function rejectsFiles(runsFolder: string, wanted: string | undefined): Promise<RejectsFile[]> {
  const runs = (await namesIn(runsFolder)).sort().reverse();
  const files: RejectsFile[] = [];
  for (const runId of wanted === undefined ? runs : [chosenRun(runs, wanted)]) {
    const folder = path.join(runsFolder, runId, 'rejects');
    const names = (await namesIn(folder)).filter((each) => each.endsWith(REJECTS_ENDING)).sort();
    for (const name of names.map((each) => path.join(folder, each))) {
      // After a power failure a file may exist but be empty.
      if ((await stat(name)).size > 0) files.push({ runId, name, open: async () => createReadStream(name) });
    }
  }
  return files;
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
