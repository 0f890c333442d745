import { DescribeExecutionCommand, paginateGetExecutionHistory, paginateListExecutions } from '@aws-sdk/client-sfn';
import { executionArnOf, STATUS } from '../../functions/aws/executions.ts';
import { shortCause } from '../../functions/core/shortCause.ts';
import type { Execution } from '../executions.ts';
import type { Stage } from './stage.ts';

/** How many executions are looked at; Step Functions forgets them after 90 days, `runs/` in the lake bucket does not. */
const LATEST = 100;

/** The latest executions, the latest first. */
export async function latestExecutions({ sfn, stateMachineArn }: Stage): Promise<Execution[]> {
  const found: Execution[] = [];
  for await (const { executions = [] } of paginateListExecutions({ client: sfn, pageSize: LATEST }, { stateMachineArn })) {
    for (const { name = '', status = 'RUNNING', startDate, stopDate } of executions) {
      found.push({
        runId: name,
        status: STATUS[status],
        error: null,
        startedAt: startDate?.toISOString() ?? '',
        endedAt: stopDate?.toISOString() ?? null,
      });
    }
    if (found.length >= LATEST) break;
  }
  return found.slice(0, LATEST);
}

/** An execution with what it failed with. */
export async function withError({ sfn, stateMachineArn }: Stage, execution: Execution): Promise<Execution> {
  const executionArn = executionArnOf(stateMachineArn, execution.runId);
  const { error, cause } = await sfn.send(new DescribeExecutionCommand({ executionArn }));
  return { ...execution, error: error === undefined ? null : `${error}: ${shortCause(error, cause ?? '')}` };
}

/** A state that an execution has left. */
export interface StateLeft {
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
