import { z } from 'zod';
import type { Ports, RunFiles } from '../ports.ts';
import { renderHeld } from './renderReport.ts';
import { heldSchema, readRunFile, reportSchema, writeRunFile } from './runFiles.ts';
import type { Held } from './runFiles.ts';

const FILE = 'held.json';
/** Those already reported by an alert of their own. */
const ANNOUNCED = 'held-announced.json';
const schema = z.array(heldSchema);

/** What a run has held other than by its gate: file versions that Plan could not read, and those that no run could judge. */
export async function readHeld(files: RunFiles, runId: string): Promise<Held[]> {
  return (await readRunFile(files, runId, FILE, schema)) ?? [];
}

/** Notes that a run holds these; call it before the ledger holds them, so that nothing is held silently. Repeating it changes nothing. */
export async function noteHeld(files: RunFiles, runId: string, held: readonly Held[]): Promise<void> {
  if (held.length === 0) return;
  const noted = await readHeld(files, runId);
  await writeRunFile(files, runId, FILE, schema, [...noted, ...held.filter((file) => !isAmong(noted, file))]);
}

/** Sends an alert about files that a run holds and nobody has been told of, if any. */
export async function announceHeld(
  { runFiles, alerts, log }: Pick<Ports, 'runFiles' | 'alerts' | 'log'>,
  runId: string,
): Promise<void> {
  const held = await readHeld(runFiles, runId);
  if (held.length === 0) return;
  const isReported = (await runFiles.read(runId, 'report.md')) !== null;
  const report = isReported ? await readRunFile(runFiles, runId, 'report.json', reportSchema) : null;
  const announced = (await readRunFile(runFiles, runId, ANNOUNCED, schema)) ?? [];
  const told = [...announced, ...(report?.held ?? [])];
  const untold = held.filter((file) => !isAmong(told, file));
  if (untold.length === 0) return;
  await alerts.send({
    subject: `STEDI lakehouse: HELD ${runId}`,
    text: renderHeld(runId, untold),
    attributes: { status: 'HELD', runId },
  });
  await writeRunFile(runFiles, runId, ANNOUNCED, schema, [...announced, ...untold]);
  log('held_announced', { runId, files: untold.length });
}

function isAmong(held: readonly Held[], { file, version }: Held): boolean {
  return held.some((other) => other.file === file && other.version === version);
}
