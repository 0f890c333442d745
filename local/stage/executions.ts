import {
  DescribeExecutionCommand,
  ExecutionDoesNotExist,
  paginateGetExecutionHistory,
  paginateListExecutions,
} from '@aws-sdk/client-sfn';
import type { ExecutionListItem } from '@aws-sdk/client-sfn';
import { executionArnOf, STATUS } from '../../functions/aws/executions.ts';
import { StageError } from '../../functions/core/errors.ts';
import { shortCause } from '../../functions/core/shortCause.ts';
import type { Execution } from '../executions.ts';
import type { Stage } from './stage.ts';

/** The latest executions, newest first. Step Functions forgets them after 90 days, `runs/` in the lake bucket does not. */
export async function latestExecutions({ sfn, stateMachineArn }: Stage, limit = 100): Promise<Execution[]> {
  const found: Execution[] = [];
  for await (const { executions = [] } of paginateListExecutions(
    { client: sfn, pageSize: Math.min(limit, 1000) },
    { stateMachineArn },
  )) {
    found.push(...executions.map(asExecution));
    if (found.length >= limit) break;
  }
  return found.slice(0, limit);
}

/**
 * One execution, with its error.
 * @throws StageError for one that Step Functions has forgotten
 */
export async function executionOf({ sfn, stateMachineArn, lakeBucket }: Stage, runId: string): Promise<Execution> {
  const executionArn = executionArnOf(stateMachineArn, runId);
  const found = await sfn.send(new DescribeExecutionCommand({ executionArn })).catch((error: unknown) => {
    if (!(error instanceof ExecutionDoesNotExist)) throw error;
    throw new StageError(
      `Step Functions no longer knows ${runId}, as it forgets executions after 90 days; what the run left is in s3://${lakeBucket}/runs/${runId}/`,
    );
  });
  const { error, cause } = found;
  return { ...asExecution(found), error: error === undefined ? null : `${error}: ${shortCause(error, cause ?? '')}` };
}

function asExecution({ name = '', status = 'RUNNING', startDate, stopDate }: Partial<ExecutionListItem>): Execution {
  return {
    runId: name,
    status: STATUS[status],
    error: null,
    startedAt: startDate?.toISOString() ?? '',
    endedAt: stopDate?.toISOString() ?? null,
  };
}

/** A state that an execution has left. */
interface StateLeft {
  id: number;
  state: string;
  seconds: number;
}

/** The states that an execution has left so far, in their order. */
export async function statesLeft({ sfn, stateMachineArn }: Stage, runId: string): Promise<StateLeft[]> {
  const executionArn = executionArnOf(stateMachineArn, runId);
  const entered = new Map<string, number>();
  const left: StateLeft[] = [];
  const pages = paginateGetExecutionHistory({ client: sfn, pageSize: 1000 }, { executionArn, includeExecutionData: false });
  for await (const { events = [] } of pages) {
    for (const event of events) {
      const at = event.timestamp?.getTime() ?? 0;
      if (event.stateEnteredEventDetails?.name !== undefined) entered.set(event.stateEnteredEventDetails.name, at);
      const state = event.stateExitedEventDetails?.name;
      if (state !== undefined) left.push({ id: event.id ?? 0, state, seconds: (at - (entered.get(state) ?? at)) / 1000 });
    }
  }
  return left;
}
