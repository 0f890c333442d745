import middy from '@middy/core';
import sqsPartialBatchFailure from '@middy/sqs-partial-batch-failure';
import { z } from 'zod';
import { catalogFile, isIgnoredKey, landingTableOf } from './core/catalogFile.ts';
import type { CatalogPorts } from './core/catalogFile.ts';
import { messageOf } from './core/errors.ts';
import { requestRun } from './core/requestRun.ts';
import type { RequestPorts } from './core/requestRun.ts';

/** "Object Created" as EventBridge delivers it (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html). */
const objectCreated = z.object({
  'detail-type': z.literal('Object Created'),
  detail: z.object({
    object: z.object({ key: z.string().min(1), size: z.int().min(0), 'version-id': z.string().min(1) }),
  }),
});

const sqsBatch = z.object({ Records: z.array(z.object({ messageId: z.string(), body: z.string() })) });

/** Lambda `catalog`: an SQS batch of object-created events. A failing record returns to the queue alone. */
export function catalog(ports: CatalogPorts & RequestPorts) {
  return middy()
    .use(sqsPartialBatchFailure({ logger: (reason) => ports.log('message_returned', { error: messageOf(reason) }) }))
    .handler(async (event: unknown) => {
      const { Records } = sqsBatch.parse(event);
      const outcomes = await Promise.allSettled(Records.map((record) => catalogObject(ports, record.body)));
      if (outcomes.some(({ status }) => status === 'fulfilled') && (await ports.ledger.pending(1)).length > 0)
        await requestRun(ports);
      return outcomes;
    });
}

async function catalogObject(ports: CatalogPorts, body: string): Promise<void> {
  const { object } = objectCreated.parse(JSON.parse(body)).detail;
  const table = landingTableOf(object.key);
  if (table === null || isIgnoredKey(object.key)) {
    ports.log('key_ignored', { key: object.key });
    return;
  }
  try {
    await catalogFile(ports, { table, key: object.key, version: object['version-id'], size: object.size });
  } catch (error) {
    ports.log('catalog_failed', { key: object.key, error: messageOf(error) });
    throw error;
  }
}
