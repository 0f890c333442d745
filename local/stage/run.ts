import { randomBytes } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { StateMachineExecutions } from '../../functions/aws/executions.ts';
import { StageError } from '../../functions/core/errors.ts';
import { reportSchema, readRunFile } from '../../functions/core/runFiles.ts';
import type { Report } from '../../functions/core/runFiles.ts';
import { runIdOf } from '../../functions/core/runId.ts';
import { PUBLISHED_REFERENCE } from '../../functions/core/settings.ts';
import type { FileVersion } from '../../functions/ports.ts';
import { findDrops } from '../dropFiles.ts';
import type { CommandContext } from '../lake.ts';
import type { Output } from '../output.ts';
import { droppedText } from '../views/drops.ts';
import { exitCodeOf, expectationsOf, isEmpty, noTotals, reportedBy, resultText, totalsOf, troubles } from '../views/runResult.ts';
import type { RunResult } from '../views/runResult.ts';
import type { Execution } from '../executions.ts';
import { dropIntoLanding } from './dropFiles.ts';
import { executionOf, latestExecutions, statesLeft } from './executions.ts';
import { withStage } from './stage.ts';
import type { Stage } from './stage.ts';

const PAUSE_MS = 1_000;
/** How long a dropped file's event may take; the schedule finds what comes later. */
const EVENT_SECONDS = 120;
/** How long the run lock may be held while nothing runs; the end of an execution frees it within seconds. */
const STUCK_SECONDS = 120;
/** How many looks in a row must find nothing going before everything is over. */
const CALM = 3;

/** Puts the sources' files into a stage's landing, makes sure that a run takes in what is pending, and follows it to the end. */
export async function run({ options, output }: CommandContext, sources: readonly string[]): Promise<number> {
  const started = performance.now();
  const drops = await findDrops(sources, null, (text) => output.say(text));
  return withStage(options, async (stage) => {
    const before = new Set((await latestExecutions(stage)).filter(hasEnded).map(({ runId }) => runId));
    const heldBefore = await stage.ledger.held();
    const dropped = await dropIntoLanding(stage, drops);
    if (drops.length > 0) output.say(droppedText(dropped));
    await untilKnown(
      stage,
      dropped.flatMap(({ file }) => (file === null ? [] : [file])),
    );
    // By hand: its Plan takes the run lock, or ends with nothing to do.
    const executions = new StateMachineExecutions(stage.sfn, stage.stateMachineArn);
    const start = (): Promise<void> => executions.start(runIdOf(new Date(), randomBytes(3).toString('hex')));
    const hasAdded = dropped.some(({ added }) => added);
    if (!(await isAskedFor(stage, hasAdded))) await start();
    let followed = await follow(stage, before, output);
    if (followed.length === 0) {
      // The lock was still held for an execution that had ended before.
      await start();
      followed = await follow(stage, before, output);
    }
    const { last, reported } = await reportedBy(followed, stage, heldBefore);
    const result: RunResult = {
      status: followed.at(-1)?.status === 'SUCCEEDED' ? (last?.status ?? 'NOTHING_TO_DO') : 'FAILED',
      ...reported,
      ...(await builtBy(stage, last, options.expect === 'published')),
      unread: [],
      seconds: Math.round(performance.now() - started) / 1000,
    };
    output.result(result, () => summary(stage, result, last));
    // Held files stay on a stage's ledger for good, even if a mended file has come since: only what this call held is news.
    return exitCodeOf({ ...result, heldBefore: [] });
  });
}

function hasEnded({ status }: Execution): boolean {
  return status !== 'RUNNING';
}

/** Waits until the ledger knows the files that were dropped; their events are on the way. */
async function untilKnown(stage: Stage, files: readonly FileVersion[]): Promise<void> {
  const deadline = Date.now() + EVENT_SECONDS * 1000;
  let unknown = files;
  while (unknown.length > 0) {
    if (Date.now() > deadline) {
      throw new StageError(
        `${unknown.length} of ${files.length} dropped files are not in the ledger after ${EVENT_SECONDS} s: ` +
          'they are in landing, and the next schedule registers them; see the log of the function catalog and its dead letter queue',
      );
    }
    unknown = await stage.ledger.unknown(unknown);
    if (unknown.length > 0) await setTimeout(PAUSE_MS);
  }
}

/** Whether a run has the lock. The function that registers a dropped file asks for one a moment later. */
async function isAskedFor({ ledger }: Stage, dropped: boolean): Promise<boolean> {
  for (let tries = dropped ? 5 : 1; tries > 0; tries -= 1) {
    if ((await ledger.lock()) !== null) return true;
    if (tries > 1) await setTimeout(PAUSE_MS);
  }
  return false;
}

/** Shows each state that executions leave, until none is running and the run lock is free. Returns those that are not in `before`. */
async function follow(stage: Stage, before: ReadonlySet<string>, output: Output): Promise<Execution[]> {
  const shown = new Map<string, number>();
  const over = new Set<string>();
  let lastGoing = Date.now();
  for (let calm = 0; ; await setTimeout(PAUSE_MS)) {
    const executions = (await latestExecutions(stage)).filter(({ runId }) => !before.has(runId)).reverse();
    for (const { runId } of executions.filter((execution) => !over.has(execution.runId)))
      await showStates(stage, runId, shown, output);
    for (const { runId } of executions.filter(hasEnded)) over.add(runId);
    const lock = await stage.ledger.lock();
    const isGoing = !executions.every(hasEnded);
    calm = isGoing || lock !== null ? 0 : calm + 1;
    if (calm >= CALM) return Promise.all(executions.map((execution) => executionOf(stage, execution.runId)));
    if (isGoing) lastGoing = Date.now();
    if (lock !== null && Date.now() - lastGoing > STUCK_SECONDS * 1000) {
      throw new StageError(
        `${lock.runId} holds the run lock, and nothing has been running for ${STUCK_SECONDS} s: reconcile settles it on its schedule; ` +
          'if it does not, see the log and the dead letter queue of the function reconcile',
      );
    }
  }
}

async function showStates(stage: Stage, runId: string, shown: Map<string, number>, output: Output): Promise<void> {
  const last = shown.get(runId);
  if (last === undefined) output.say(`Run ${runId}\n  ${stage.consoleLink(runId)}`);
  shown.set(runId, last ?? 0);
  for (const { id, state, seconds } of await statesLeft(stage, runId)) {
    if (id <= (last ?? 0)) continue;
    output.say(`  ${state.padEnd(24)}${seconds.toFixed(2).padStart(9)} s`);
    shown.set(runId, id);
  }
}

/** What the last run built (what the stage shows if none did), and what was expected of it. */
async function builtBy(stage: Stage, last: Report | null, expectPublished: boolean) {
  const totals = totalsOf(last) ?? (await shownTotals(stage));
  const published = expectPublished ? expectationsOf(totals, PUBLISHED_REFERENCE) : [];
  return { ...totals, expectations: [...(last?.expectations ?? []), ...published] };
}

/** What the stage shows if no run of this call published: the published run's report. */
async function shownTotals({ lake, runFiles }: Stage) {
  const published = await lake.publishedRun();
  const report = published === null ? null : await readRunFile(runFiles, published.runId, 'report.json', reportSchema);
  return totalsOf(report) ?? noTotals('person-and-time');
}

function summary(stage: Stage, result: RunResult, last: Report | null): string {
  if (isEmpty(result))
    return [
      `Nothing to do: no file in s3://${stage.landingBucket} is pending, and nothing was published yet. "stedi run SOURCE --stage ${stage.name}" puts files there`,
      ...troubles(result),
    ].join('\n\n');
  const runId = result.runs.at(-1);
  return resultText(result, last, [
    `Tables  Athena, database ${stage.database}, workgroup ${stage.workgroup}`,
    ...(runId === undefined
      ? []
      : [`Report  s3://${stage.lakeBucket}/runs/${runId}/report.md`, `Console ${stage.consoleLink(runId)}`]),
  ]);
}
