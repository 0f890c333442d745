import middy from '@middy/core';
import { z } from 'zod';
import { reconcileRuns } from './core/reconcileRuns.ts';
import type { EndedExecution } from './core/reconcileRuns.ts';
import type { Ports } from './ports.ts';

const STATUSES = ['RUNNING', 'SUCCEEDED', 'FAILED', 'TIMED_OUT', 'ABORTED', 'PENDING_REDRIVE'] as const;

/** The statuses that an execution ends with. */
const ENDED: Partial<Record<(typeof STATUSES)[number], EndedExecution['status']>> = {
  SUCCEEDED: 'SUCCEEDED',
  FAILED: 'FAILED',
  TIMED_OUT: 'FAILED',
  ABORTED: 'ABORTED',
};

/** A scheduled event, or "Execution Status Change" (https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html). */
const event = z.discriminatedUnion('detail-type', [
  z.object({ 'detail-type': z.literal('Scheduled Event') }),
  z.object({
    'detail-type': z.literal('Step Functions Execution Status Change'),
    detail: z.object({ name: z.string().min(1), status: z.enum(STATUSES) }),
  }),
]);

/** Lambda `reconcile`: settles ended executions, registers what events missed, starts the follow-up. */
export function reconcile(ports: Ports) {
  return middy().handler(async (raw: unknown) => {
    const parsed = event.parse(raw);
    if (parsed['detail-type'] === 'Scheduled Event') return reconcileRuns(ports, 'schedule');
    const { name: runId, status } = parsed.detail;
    const ended = ENDED[status];
    return reconcileRuns(ports, 'execution ended', ended === undefined ? null : { runId, status: ended });
  });
}
