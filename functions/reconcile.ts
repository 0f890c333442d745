import middy from '@middy/core';
import { z } from 'zod';
import { reconcileRuns } from './core/reconcileRuns.ts';
import type { Ports } from './ports.ts';

/** A scheduled event, or "Execution Status Change" (https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html). */
const event = z.discriminatedUnion('detail-type', [
  z.object({ 'detail-type': z.literal('Scheduled Event') }),
  z.object({
    'detail-type': z.literal('Step Functions Execution Status Change'),
    detail: z.object({
      name: z.string().min(1),
      status: z.enum(['RUNNING', 'SUCCEEDED', 'FAILED', 'TIMED_OUT', 'ABORTED', 'PENDING_REDRIVE']),
    }),
  }),
]);

/** Lambda `reconcile`: settles ended executions, registers what events missed, starts the follow-up. */
export function reconcile(ports: Ports) {
  return middy().handler(async (raw: unknown) => {
    const parsed = event.parse(raw);
    return reconcileRuns(ports, parsed['detail-type'] === 'Scheduled Event' ? 'schedule' : 'execution ended');
  });
}
