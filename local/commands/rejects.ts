import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { rejectedSchema } from '../../functions/core/runFiles.ts';
import type { Rejected } from '../../functions/core/runFiles.ts';
import { isMissing } from '../systemErrors.ts';
import { lakePaths } from '../lakePaths.ts';
import { heldIn } from '../ledger.ts';
import { requireLake } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import { exportRejects, latestRejects, linesOf, rejectsText } from '../views/rejects.ts';
import { chosenRun } from '../views/runs.ts';

/** Rejected records with file, line and reason, those of failed runs too; `--export` writes them back out. */
export async function rejects(
  { options, output }: CommandContext,
  runId: string | undefined,
  exportTo: string | undefined,
): Promise<number> {
  requireLake(options.lake);
  const paths = lakePaths(options.lake);
  const list = await latestRejects(readRejects(paths.runs, runId));
  const exported = exportTo === undefined ? null : await exportRejects(list, exportTo);
  output.result(list, () => rejectsText(list, exported, heldIn(paths.ledger)));
  return 0;
}

async function* readRejects(runsFolder: string, runId: string | undefined): AsyncGenerator<Rejected> {
  const runs = (await namesIn(runsFolder)).sort();
  const chosen = runId === undefined ? runs : [chosenRun(runs.toReversed(), runId)];
  for (const run of chosen) {
    const folder = path.join(runsFolder, run, 'rejects');
    for (const name of (await namesIn(folder)).filter((each) => each.endsWith('.ndjson')).sort()) {
      for await (const line of linesOf(createReadStream(path.join(folder, name)))) yield rejectedSchema.parse(JSON.parse(line));
    }
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
