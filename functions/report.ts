import { z } from 'zod';
import { reportRun } from './core/reportRun.ts';
import type { ReportPorts } from './core/reportRun.ts';
import { settleRun } from './core/settleRun.ts';
import { shortCause } from './core/shortCause.ts';
import { middleware } from './middleware.ts';
import type { Ports } from './ports.ts';

/** `error` is what a Catch of the state machine stored, and absent when all went well. A state that timed out may have no cause. */
const input = z.object({
  runId: z.string().min(1),
  error: z.object({ Error: z.string(), Cause: z.string().default('') }).optional(),
});

/** Lambda `report` (states Report and ReportFailure): closes the ledger of a published run, writes the report and sends it. */
export function report(ports: ReportPorts & Pick<Ports, 'ledger'>) {
  return middleware().handler(async (event: unknown) => {
    const { runId, error } = input.parse(event);
    if (error === undefined) await settleRun(ports, runId);
    const failed = error === undefined ? null : { name: error.Error, cause: shortCause(error.Error, error.Cause) };
    const { status } = await reportRun(ports, runId, failed);
    return { runId, status };
  });
}
