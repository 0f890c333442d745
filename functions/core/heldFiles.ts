import { z } from 'zod';
import type { Ports, RunFiles } from '../ports.ts';
import { renderHeld } from './renderReport.ts';
import { heldSchema, readRunFile, reportSchema, writeRunFile } from './runFiles.ts';
import type { Held } from './runFiles.ts';

const FILE = 'held.json';
const schema = z.array(heldSchema);

/** What a run has held without its gate: file versions that Plan could not read, and those that no run could judge. */
export async function readHeld(files: RunFiles, runId: string): Promise<Held[]> {
  return (await readRunFile(files, runId, FILE, schema)) ?? [];
}

/** Notes that a run holds these; to be called before the ledger holds them, so that nothing is held in silence. Doing it again changes nothing. */
export async function noteHeld(files: RunFiles, runId: string, held: readonly Held[]): Promise<void> {
  if (held.length === 0) return;
  const noted = await readHeld(files, runId);
  await writeRunFile(files, runId, FILE, schema, [...noted, ...held.filter((file) => !isAmong(noted, file))]);
}

/** Sends an alert of what a run holds and its report does not tell, if there is any. */
export async function announceHeld(ports: Pick<Ports, 'runFiles' | 'alerts' | 'log'>, runId: string): Promise<void> {
  const report = await readRunFile(ports.runFiles, runId, 'report.json', reportSchema);
  const untold = (await readHeld(ports.runFiles, runId)).filter((file) => !isAmong(report?.held ?? [], file));
  if (untold.length === 0) return;
  await ports.alerts.send({
    subject: `STEDI lakehouse: HELD ${runId}`,
    text: renderHeld(runId, untold),
    attributes: { status: 'HELD', runId },
  });
  ports.log('held_announced', { runId, files: untold.length });
}

function isAmong(held: readonly Held[], { file, version }: Held): boolean {
  return held.some((other) => other.file === file && other.version === version);
}
