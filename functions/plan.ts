import { z } from 'zod';
import { planRun } from './core/planRun.ts';
import type { PlanPorts } from './core/planRun.ts';
import { runIdSchema } from './core/runId.ts';
import type { Settings } from './core/settings.ts';
import { middleware } from './middleware.ts';

const input = z.object({ runId: runIdSchema });

/** Lambda `plan` (state Plan): takes the run lock, claims what is pending and writes the manifest. */
export function plan(ports: PlanPorts, settings: Settings) {
  return middleware().handler(async (event: unknown) => planRun(ports, settings, input.parse(event).runId));
}
