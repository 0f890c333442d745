import type { CommandContext } from '../lake.ts';
import { chosenExecution, chosenRun, foundNothing, latestRuns, overviewOf, runDetails } from '../views/runs.ts';
import type { Execution } from '../executions.ts';
import { executionOf, latestExecutions } from './executions.ts';
import { runsOf } from './objects.ts';
import { withStage } from './stage.ts';
import type { Stage } from './stage.ts';

/** In one request. */
const LOOKED_THROUGH = 1000;

/** The latest runs of a stage, newest first. */
export async function runs({ options, output }: CommandContext, limit: number): Promise<number> {
  const { value, text } = await withStage(options, async (stage) =>
    latestRuns(stage.runFiles, await latestExecutions(stage, Math.max(limit + 1, LOOKED_THROUGH)), limit),
  );
  output.result(value, () => text);
  return 0;
}

/** One run of a stage, and where the console shows it. */
export async function show({ options, output }: CommandContext, wanted: string): Promise<number> {
  return withStage(options, async (stage) => {
    const history = await latestExecutions(stage);
    const runId = wanted === 'last' ? await lastRun(stage, history) : await namedRun(stage, history, wanted);
    const run = await overviewOf(stage.runFiles, await executionOf(stage, runId));
    const { value, text } = await runDetails(stage.runFiles, run);
    const console = stage.consoleLink(runId);
    output.result({ ...value, console }, () =>
      [text, `Everything it left: s3://${stage.lakeBucket}/runs/${runId}/\nConsole: ${console}`].join('\n\n'),
    );
    return 0;
  });
}

/** The latest execution that had something to do: nobody asks about the others. */
async function lastRun({ runFiles }: Stage, history: readonly Execution[]): Promise<string> {
  for (const execution of history) {
    if (!foundNothing(await overviewOf(runFiles, execution))) return execution.runId;
  }
  return chosenExecution(history, 'last').runId;
}

/** One of the latest executions; otherwise an older one that left something. */
async function namedRun(stage: Stage, history: readonly Execution[], wanted: string): Promise<string> {
  const latest = history.map(({ runId }) => runId);
  return chosenRun(latest.some((runId) => runId.startsWith(wanted)) ? latest : (await runsOf(stage)).toReversed(), wanted);
}
