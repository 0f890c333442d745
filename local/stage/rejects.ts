import { GetObjectCommand, paginateListObjectsV2 } from '@aws-sdk/client-s3';
import { rejectedSchema } from '../../functions/core/runFiles.ts';
import type { Rejected } from '../../functions/core/runFiles.ts';
import type { CommandContext } from '../lake.ts';
import { exportRejects, latestRejects, linesOf, rejectsText } from '../views/rejects.ts';
import { chosenRun } from '../views/runs.ts';
import { bytesOf, runsOf } from './objects.ts';
import { withStage } from './stage.ts';
import type { Stage } from './stage.ts';

const REJECTS = /^runs\/[^/]+\/rejects\/\w+\.ndjson$/;

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
  const prefix = runId === undefined ? 'runs/' : `runs/${chosenRun((await runsOf(stage)).toReversed(), runId)}/rejects/`;
  // Few runs reject anything: to list what is there takes less than to ask each run.
  for await (const { Contents = [] } of paginateListObjectsV2(
    { client: stage.s3 },
    { Bucket: stage.lakeBucket, Prefix: prefix },
  )) {
    for (const { Key = '' } of Contents.filter((object) => REJECTS.test(object.Key ?? ''))) {
      const found = await stage.s3.send(new GetObjectCommand({ Bucket: stage.lakeBucket, Key }));
      for await (const line of linesOf(bytesOf(found.Body))) yield rejectedSchema.parse(JSON.parse(line));
    }
  }
}
