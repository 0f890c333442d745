import type { LedgerFile, Lock, Ports, PublishedLake, PublishedRun } from '../ports.ts';
import { LandingRefusedError } from './errors.ts';
import { inOrder } from './fileVersions.ts';
import { noteHeld } from './heldFiles.ts';
import { inParallel } from './parallel.ts';
import { manifestSchema, writeRunFile } from './runFiles.ts';
import type { Manifest } from './runFiles.ts';
import type { Settings } from './settings.ts';

export type PlanPorts = Pick<Ports, 'ledger' | 'landing' | 'runFiles' | 'definition' | 'log' | 'now'> & {
  lake: Pick<PublishedLake, 'publishedRun'>;
};

export interface Plan {
  status: 'RUN' | 'NOTHING_TO_DO';
  runId: string;
  /** The fencing number as text, for a Glue argument; '0' without a run. */
  fence: string;
  files: number;
}

/** Whether the tables would hold something else if they were built again today. A lake that never published has nothing to run. */
export function definitionChanged(published: PublishedRun | null, definition: string): boolean {
  return published !== null && published.definition !== definition;
}

/** The lock, the claim and the manifest of one run (state Plan). */
export async function planRun(ports: PlanPorts, settings: Settings, runId: string): Promise<Plan> {
  const nothing: Plan = { status: 'NOTHING_TO_DO', runId, fence: '0', files: 0 };
  const lock = await ports.ledger.takeLock(runId);
  if (lock === null) return nothing; // another run holds it

  // When planned again, as in a retried step, a run keeps what it has claimed and takes no more.
  const claimed = await ports.ledger.claimed(runId);
  const pending = claimed.length > 0 ? [] : upTo(settings.maxGbPerRun, await ports.ledger.pending(settings.maxFilesPerRun));
  // Of equal records the one in the first file is staged, so the order must not depend on when files arrived.
  const files = await prepare(ports, lock, inOrder([...claimed, ...pending]));
  const published = await ports.lake.publishedRun();
  // The ledger may be new or restored: from here on it knows what the lake shows.
  if (published !== null) await ports.ledger.setPublished(published);
  const changed = definitionChanged(published, ports.definition);
  if (files.length === 0 && !changed) return nothing;

  if (claimed.length === 0) await ports.ledger.claim(runId, lock.fence, files);
  const { mlJoin, consentFrom } = settings;
  await writeRunFile(ports.runFiles, runId, 'manifest.json', manifestSchema, {
    runId,
    fence: lock.fence,
    plannedAt: ports.now().toISOString(),
    reason: files.length > 0 ? 'files' : 'definition',
    definition: ports.definition,
    definitionChanged: changed,
    previous: published?.runId ?? null,
    policies: { mlJoin, consentFrom },
    files,
  });
  ports.log('run_planned', { runId, fence: lock.fence, files: files.length, definitionChanged: changed, mlJoin, consentFrom });
  return { status: 'RUN', runId, fence: String(lock.fence), files: files.length };
}

/**
 * The first of these files, of so many gigabytes in all: more would not fit on the workers' disks, whatever time they had. Always one, because
 * a file that is larger alone must be read too.
 */
function upTo(gigabytes: number, files: readonly LedgerFile[]): LedgerFile[] {
  let bytes = 0;
  return files.filter(({ size }, at) => (bytes += size) <= gigabytes * 1e9 || at === 0);
}

type ManifestFile = Manifest['files'][number];

/**
 * The files that can be read as they were registered. Those that can't be are held for a person, and the rest go on; those already claimed go
 * back to pending with their run.
 * @throws LandingRefusedError if landing refuses files and none can be read: then the files are hardly the reason
 */
async function prepare(ports: PlanPorts, lock: Lock, waiting: readonly LedgerFile[]): Promise<ManifestFile[]> {
  const mayChange = mayBeOverwritten(waiting);
  const outcomes = await inParallel(waiting, async (file) => ({
    file,
    outcome: await ports.landing.prepare(lock.runId, file, mayChange),
  }));
  const ready: ManifestFile[] = [];
  const unready: { file: LedgerFile; why: string; refused: boolean }[] = [];
  for (const { file, outcome } of outcomes) {
    const { table, key, version, size } = file;
    if (outcome.ready) ready.push({ table, key, version, size, input: outcome.input });
    else unready.push({ file, why: outcome.why, refused: outcome.refused === true });
  }
  const doubtful = ready.length > 0 ? [] : unready.filter(({ refused }) => refused);
  await hold(
    ports,
    lock,
    unready.filter((each) => each.file.state === 'pending' && !doubtful.includes(each)),
  );
  const [first] = doubtful;
  if (first !== undefined)
    throw new LandingRefusedError(`no landing file can be read; the first is ${first.file.key}: ${first.why}`);
  return ready;
}

/**
 * Whether somebody may overwrite files faster than runs read them: a key waits in more than one version, or a run broke off, perhaps because of
 * that. It would break off again, and the third time everything it had claimed would be held.
 */
function mayBeOverwritten(waiting: readonly LedgerFile[]): boolean {
  return new Set(waiting.map(({ key }) => key)).size < waiting.length || waiting.some(({ attempts }) => attempts > 0);
}

async function hold(
  ports: PlanPorts,
  { runId, fence }: Lock,
  unready: readonly { file: LedgerFile; why: string }[],
): Promise<void> {
  const held = unready.map(({ file: { key, version }, why }) => ({ file: key, version, why }));
  await noteHeld(ports.runFiles, runId, held);
  await ports.ledger.hold(runId, fence, unready);
  for (const { file, why } of unready) ports.log('file_held', { key: file.key, version: file.version, why });
}
