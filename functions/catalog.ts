import sqsPartialBatchFailure from '@middy/sqs-partial-batch-failure';
import { z } from 'zod';
import { catalogFiles, isIgnoredKey, landingTableOf } from './core/catalogFile.ts';
import type { CatalogPorts } from './core/catalogFile.ts';
import { messageOf } from './core/errors.ts';
import { requestRunForPending } from './core/requestRun.ts';
import type { RequestPorts } from './core/requestRun.ts';
import { middleware } from './middleware.ts';
import type { FileVersion } from './ports.ts';

/** "Object Created" as EventBridge delivers it (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html). */
const objectCreated = z.object({
  'detail-type': z.literal('Object Created'),
  detail: z.object({
    object: z.object({ key: z.string().min(1), size: z.int().min(0), 'version-id': z.string().min(1) }),
  }),
});

const sqsBatch = z.object({ Records: z.array(z.object({ messageId: z.string(), body: z.string() })) });

/** Lambda `catalog`: an SQS batch of object-created events. Only records that fail return to the queue. */
export function catalog(ports: CatalogPorts & RequestPorts) {
  return middleware()
    .use(sqsPartialBatchFailure({ logger: (reason) => ports.log('message_returned', { error: messageOf(reason) }) }))
    .handler(async (event: unknown) => {
      const { Records } = sqsBatch.parse(event);
      const outcomes = await catalogObjects(ports, Records);
      if (outcomes.some(({ status }) => status === 'fulfilled')) await tryToRequestRun(ports);
      return outcomes;
    });
}

/** If a run can't be asked for, no message returns: the files are registered, and the next event or schedule starts what is pending. */
async function tryToRequestRun(ports: RequestPorts): Promise<void> {
  try {
    await requestRunForPending(ports);
  } catch (error) {
    ports.log('run_not_requested', { error: messageOf(error) });
  }
}

/** What became of each record. */
async function catalogObjects(
  ports: CatalogPorts,
  records: readonly { body: string }[],
): Promise<PromiseSettledResult<unknown>[]> {
  const parsed = await Promise.allSettled(records.map(async ({ body }) => landedFile(ports, body)));
  const files = parsed.flatMap((outcome) => (outcome.status === 'fulfilled' && outcome.value !== null ? [outcome.value] : []));
  const outcomes = await catalogFiles(ports, files);
  const cataloged = new Map(files.map((file, at) => [file, outcomes[at]]));
  return parsed.map((outcome) => {
    const file = outcome.status === 'fulfilled' ? outcome.value : null;
    return (file === null ? undefined : cataloged.get(file)) ?? outcome;
  });
}

/** Null if the key is not one of ours. */
function landedFile(ports: CatalogPorts, body: string): FileVersion | null {
  const { key, size, 'version-id': version } = objectCreated.parse(JSON.parse(body)).detail.object;
  const table = landingTableOf(key);
  if (table !== null && !isIgnoredKey(key)) return { table, key, version, size };
  ports.log('key_ignored', { key });
  return null;
}
