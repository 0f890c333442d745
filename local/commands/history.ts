import type { Execution } from '../executions.ts';
import type { LocalHome } from '../home.ts';
import { withLedger } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import { ProcessLock } from '../processLock.ts';
import { chosenExecution, latestRuns, overviewOf, runDetails } from '../views/runs.ts';

/** The latest runs, newest first. */
export async function runs({ options, output }: CommandContext, limit: number): Promise<number> {
  const { value, text } = await withLedger(options, async (home) => latestRuns(home.runFiles, historyOf(home), limit));
  output.result(value, () => text);
  return 0;
}

/** One run: its files, steps, counts, expectations and timings. `last` is the latest. */
export async function show({ options, output }: CommandContext, wanted: string): Promise<number> {
  return withLedger(options, async (home) => {
    const execution = chosenExecution(historyOf(home), wanted);
    const { value, text } = await runDetails(home.runFiles, await overviewOf(home.runFiles, execution));
    output.result(value, () => `${text}\n\nEverything it left: ${home.runFiles.folderOf(value.runId)}`);
    return 0;
  });
}

/**
 * All executions, newest first. One still RUNNING while no process works on the lake was killed; the next run records that in the ledger.
 * The list is read again after that look, as one may have ended just before.
 */
function historyOf({ executions, paths }: LocalHome): Execution[] {
  const going = executions.history().filter(({ status }) => status === 'RUNNING');
  const killed = new Set(going.length === 0 || ProcessLock.isHeld(paths.folder) ? [] : going.map(({ runId }) => runId));
  return executions
    .history()
    .map((execution) =>
      execution.status === 'RUNNING' && killed.has(execution.runId)
        ? { ...execution, status: 'ABORTED', error: 'the process was killed; "stedi run" puts everything right' }
        : execution,
    );
}
