import { z } from 'zod';
import type { Settings } from './core/settings.ts';
import { validateRun } from './core/validateRun.ts';
import { middleware } from './middleware.ts';
import type { Ports } from './ports.ts';

const input = z.object({ runId: z.string().min(1) });

/** Lambda `validate` (state Validate): the gate. Fails with GateFailedError, and then nothing is published. */
export function validate(ports: Pick<Ports, 'runFiles' | 'log'>, settings: Settings) {
  return middleware().handler(async (event: unknown) => validateRun(ports, settings, input.parse(event).runId));
}
