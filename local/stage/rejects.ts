import { GetObjectCommand, NoSuchKey } from '@aws-sdk/client-s3';
import { rejectedSchema } from '../../functions/core/runFiles.ts';
import type { Rejected } from '../../functions/core/runFiles.ts';
import { LANDING_TABLES } from '../../functions/core/steps.ts';
import type { CommandContext } from '../lake.ts';
import { exportRejects, latestRejects, linesOf, rejectsText } from '../views/rejects.ts';
import { chosenRun } from '../views/runs.ts';
import { bytesOf, runsOf } from './objects.ts';
import { withStage } from './stage.ts';
import type { Stage } from './stage.ts';

/** Rejected records of a stage's runs, failed ones too; `--export` writes them back out. */
export async function rejects(
  { options, output }: CommandContext,
  runId: string | undefined,
  exportTo: string | undefined,
): Promise<number> {
  const { list, held } = await withStage(options, async (stage) => ({
    list: await latestRejects(readRejects(stage, runId)),
    held: await stage.ledger.held(),
  }));
  const exported = exportTo === undefined ? null : await exportRejects(list, exportTo);
  output.result(list, () => rejectsText(list, exported, held));
  return 0;
}

async function* readRejects(stage: Stage, runId: string | undefined): AsyncGenerator<Rejected> {
  const runs = await runsOf(stage);
  const chosen = runId === undefined ? runs : [chosenRun(runs.toReversed(), runId)];
  for (const run of chosen) {
    for (const table of LANDING_TABLES) {
      for await (const line of linesOf(contentOf(stage, `runs/${run}/rejects/${table}.ndjson`)))
        yield rejectedSchema.parse(JSON.parse(line));
    }
  }
}

/** Nothing where there is no such object. */
async function* contentOf({ s3, lakeBucket }: Stage, key: string): AsyncGenerator<Uint8Array> {
  const found = await s3.send(new GetObjectCommand({ Bucket: lakeBucket, Key: key })).catch((error: unknown) => {
    if (error instanceof NoSuchKey) return null;
    throw error;
  });
  yield* bytesOf(found?.Body);
}
