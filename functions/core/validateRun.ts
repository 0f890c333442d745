import type { Ports } from '../ports.ts';
import { GateFailedError } from './errors.ts';
import { judge } from './expectations.ts';
import { auditsSchema, manifestSchema, readRunFile, readStepMetrics, validationSchema, writeRunFile } from './runFiles.ts';
import type { Settings } from './settings.ts';

/**
 * The gate (state Validate): judges what the jobs left in `runs/<runId>/metrics/` and writes `validation.json`.
 * @throws GateFailedError naming the expectations that were not met; nothing is published then
 */
export async function validateRun(
  ports: Pick<Ports, 'runFiles' | 'log'>,
  settings: Settings,
  runId: string,
): Promise<{ runId: string; expectations: number }> {
  const manifest = await readRunFile(ports.runFiles, runId, 'manifest.json', manifestSchema);
  if (manifest === null)
    throw new GateFailedError(`runs/${runId}/manifest.json is missing: Plan did not finish; start a new run`);
  const steps = await readStepMetrics(ports.runFiles, runId);
  const audits = await readRunFile(ports.runFiles, runId, 'metrics/audits.json', auditsSchema);

  const validation = judge({ manifest, steps, audits }, settings);
  await writeRunFile(ports.runFiles, runId, 'validation.json', validationSchema, validation);
  const failed = validation.expectations.filter((expectation) => !expectation.ok);
  ports.log('run_validated', {
    runId,
    ok: validation.ok,
    expectations: validation.expectations.length,
    failed: failed.map(({ name }) => name),
  });
  if (!validation.ok) {
    const reasons = failed.map(({ name, expected, found }) => `${name}: expected ${expected}, found ${found}`);
    throw new GateFailedError(
      `${failed.length} of ${validation.expectations.length} expectations not met. ${reasons.join('; ')}`,
    );
  }
  return { runId, expectations: validation.expectations.length };
}
