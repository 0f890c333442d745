import { inParallel } from '../../functions/aws/parallel.ts';
import type { CommandContext } from '../lake.ts';
import { chosenExecution, overviewOf, runDetails, runsText } from '../views/runs.ts';
import type { Execution } from '../executions.ts';
import { latestExecutions, withError } from './executions.ts';
import { withStage } from './stage.ts';
import type { Stage } from './stage.ts';

/** The latest runs of a stage, the latest first. */
export async function runs({ options, output }: CommandContext): Promise<number> {
  const list = await withStage(options, async (stage) =>
    inParallel(await latestExecutions(stage), (execution) => overviewOf(stage.runFiles, execution)),
  );
  const shown = list.filter((run) => run.files !== null);
  output.result(shown, () => runsText(shown));
  return 0;
}

/** One run of a stage, and where the console shows it. */
export async function show({ options, output }: CommandContext, wanted: string): Promise<number> {
  return withStage(options, async (stage) => {
    const history = await latestExecutions(stage);
    const execution = wanted === 'last' ? await lastRun(stage, history) : chosenExecution(history, wanted);
    const { runId } = execution;
    const run = await overviewOf(stage.runFiles, await withError(stage, execution));
    const { value, text } = await runDetails(stage.runFiles, run);
    const console = stage.consoleLink(runId);
    output.result({ ...value, console }, () =>
      [text, `Everything it left: s3://${stage.lakeBucket}/runs/${runId}/\nConsole: ${console}`].join('\n\n'),
    );
    return 0;
  });
}

/** The latest execution that is going or left something; one that found nothing to do is not what anybody asks about. */
async function lastRun({ runFiles }: Stage, history: readonly Execution[]): Promise<Execution> {
  for (const execution of history) {
    if (execution.status === 'RUNNING' || (await overviewOf(runFiles, execution)).files !== null) return execution;
  }
  return chosenExecution(history, 'last');
}
