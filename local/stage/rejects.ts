import { GetObjectCommand, paginateListObjectsV2 } from '@aws-sdk/client-s3';
import { REJECTS_ENDING } from '../../functions/core/runFiles.ts';
import type { RejectsFile } from '../keptRejects.ts';
import type { CommandContext } from '../lake.ts';
import { showRejects } from '../views/rejects.ts';
import { chosenRun } from '../views/runs.ts';
import { bytesOf, runsOf } from './objects.ts';
import { withStage } from './stage.ts';
import type { Stage } from './stage.ts';

const REJECTS = /^runs\/([^/]+)\/rejects\/[^/]+$/;

/** Rejected records of a stage's runs, failed ones too; `--export` writes them back out. */
export async function rejects(
  { options, output }: CommandContext,
  runId: string | undefined,
  exportTo: string | undefined,
): Promise<number> {
  await withStage(options, async (stage) =>
    showRejects(await rejectsFiles(stage, runId), await stage.ledger.held(), exportTo, output),
  );
  return 0;
}

async function rejectsFiles(stage: Stage, wanted: string | undefined): Promise<RejectsFile[]> {
  const chosen = wanted === undefined ? null : chosenRun((await runsOf(stage)).toReversed(), wanted);
  const { s3, lakeBucket: Bucket } = stage;
  const Prefix = chosen === null ? 'runs/' : `runs/${chosen}/rejects/`;
  const files: RejectsFile[] = [];
  // Few runs reject anything: listing what is there costs less than asking each run.
  for await (const { Contents = [] } of paginateListObjectsV2({ client: s3 }, { Bucket, Prefix })) {
    for (const { Key = '' } of Contents) {
      const [, runId] = REJECTS.exec(Key) ?? [];
      if (runId === undefined || !Key.endsWith(REJECTS_ENDING)) continue;
      files.push({
        runId,
        name: `s3://${Bucket}/${Key}`,
        open: async () => bytesOf((await s3.send(new GetObjectCommand({ Bucket, Key }))).Body),
      });
    }
  }
  // They are listed by name, which begins with the time.
  return files.reverse();
}
