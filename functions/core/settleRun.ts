import type { FileVerdict, LedgerFile, Ports, PublishedLake } from '../ports.ts';
import { versionName } from './fileVersions.ts';
import { noteHeld } from './heldFiles.ts';
import { manifestSchema, readRunFile, readStepMetrics, validationSchema } from './runFiles.ts';
import type { Held, StepMetrics, Validation } from './runFiles.ts';

const ATTEMPTS = 3;

/** What a run came to for its files. */
export type Outcome = 'published' | 'gate failed' | 'interrupted' | 'nothing to do';

/**
 * What becomes of each claimed file version (docs/architecture.md, "A run"): loaded if the run was published, held if the gate
 * named it, otherwise pending again. A file whose runs ended three times in a row before they could judge it is held. Pure.
 */
export function verdicts(
  claimed: readonly LedgerFile[],
  outcome: Outcome,
  steps: readonly StepMetrics[],
  validation: Validation | null,
): FileVerdict[] {
  const loads = new Map(
    steps.flatMap((metrics) => (metrics.staging?.files ?? []).map((load) => [versionName(load), load] as const)),
  );
  const held = new Map((validation?.held ?? []).map(({ file, version, why }) => [versionName({ key: file, version }), why]));
  return claimed.map(({ key, version, attempts }) => {
    const name = versionName({ key, version });
    const load = loads.get(name);
    const back = { key, version, why: null, counts: null, unknownFields: load?.unknownFields ?? null };
    if (outcome === 'published') {
      // Without the run's metrics the counts are unknown: pending, and the next run finds the file in the lake's `loads`.
      if (load === undefined) return { ...back, state: 'pending', attempts: 0 };
      const { landed, staged, duplicate, rejected } = load;
      return { ...back, state: 'loaded', attempts: 0, counts: { landed, staged, duplicate, rejected } };
    }
    if (outcome === 'gate failed') {
      const why = held.get(name);
      return why === undefined ? { ...back, state: 'pending', attempts: 0 } : { ...back, state: 'held', attempts: 0, why };
    }
    if (attempts + 1 < ATTEMPTS) return { ...back, state: 'pending', attempts: attempts + 1 };
    return {
      ...back,
      state: 'held',
      attempts: 0,
      why: `${ATTEMPTS} runs in a row ended before they could judge it; see their reports, then retry it`,
    };
  });
}

type SettlePorts = Pick<Ports, 'ledger' | 'runFiles' | 'log'> & { lake: Pick<PublishedLake, 'publishedRun'> };

/** Moves a run's claims on, by what the lake shows and the gate judged. Repeating it changes nothing. */
export async function settleRun(ports: SettlePorts, runId: string): Promise<Outcome> {
  const shown = await ports.lake.publishedRun();
  const published = shown?.runId === runId;
  const steps = await readStepMetrics(ports.runFiles, runId);
  const validation = await readRunFile(ports.runFiles, runId, 'validation.json', validationSchema);
  const manifest = await readRunFile(ports.runFiles, runId, 'manifest.json', manifestSchema);
  const claimed = await ports.ledger.claimed(runId);
  const outcome = outcomeOf(published, validation, manifest !== null || claimed.length > 0);
  const settle = async (files: readonly LedgerFile[]) => {
    const judged = verdicts(files, outcome, steps, validation);
    if (outcome === 'interrupted') await noteHeld(ports.runFiles, runId, judged.flatMap(heldOf));
    await ports.ledger.settle(runId, judged);
  };
  await settle(claimed);
  // A Plan that goes on although its execution was aborted may have claimed since; a settled run can't any more.
  const late = await ports.ledger.claimed(runId);
  if (late.length > 0) await settle(late);
  if (published) await ports.ledger.setPublished(shown);
  ports.log('run_settled', { runId, outcome, files: claimed.length + late.length });
  return outcome;
}

function outcomeOf(published: boolean, validation: Validation | null, planned: boolean): Outcome {
  if (published) return 'published';
  if (!planned) return 'nothing to do';
  return validation?.ok === false ? 'gate failed' : 'interrupted';
}

function heldOf({ key, version, state, why }: FileVerdict): Held[] {
  return state === 'held' ? [{ file: key, version, why: why ?? '' }] : [];
}
