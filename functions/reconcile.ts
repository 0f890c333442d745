import { z } from 'zod';
import { reconcileRuns } from './core/reconcileRuns.ts';
import { middleware } from './middleware.ts';
import type { Ports } from './ports.ts';

/**
 * A scheduled event, or "Execution Status Change" (https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html), which
 * `resources/events.yml` lets through for ended executions only.
 */
const event = z.discriminatedUnion('detail-type', [
  z.object({ 'detail-type': z.literal('Scheduled Event') }),
  z.object({
    'detail-type': z.literal('Step Functions Execution Status Change'),
    detail: z.object({ name: z.string().min(1), status: z.literal(['SUCCEEDED', 'FAILED', 'TIMED_OUT', 'ABORTED']) }),
  }),
]);

/** Lambda `reconcile`: settles ended executions, registers what events missed, starts the follow-up. */
export function reconcile(ports: Ports) {
  return middleware().handler(async (raw: unknown) => {
    const parsed = event.parse(raw);
    if (parsed['detail-type'] === 'Scheduled Event') return reconcileRuns(ports, 'schedule');
    const { name: runId, status } = parsed.detail;
    return reconcileRuns(ports, 'execution ended', { runId, status: status === 'TIMED_OUT' ? 'FAILED' : status });
  });
}
