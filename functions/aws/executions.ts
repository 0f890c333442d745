import {
  DescribeExecutionCommand,
  ExecutionAlreadyExists,
  ExecutionDoesNotExist,
  StartExecutionCommand,
} from '@aws-sdk/client-sfn';
import type { ExecutionStatus as Status, SFNClient } from '@aws-sdk/client-sfn';
import type { Executions, ExecutionStatus } from '../ports.ts';
import type { JobRuns } from './jobRuns.ts';

/** PENDING_REDRIVE has failed, and nothing works on it until a person says so. */
export const STATUS: Readonly<Record<Status, ExecutionStatus>> = {
  RUNNING: 'RUNNING',
  SUCCEEDED: 'SUCCEEDED',
  FAILED: 'FAILED',
  TIMED_OUT: 'FAILED',
  PENDING_REDRIVE: 'FAILED',
  ABORTED: 'ABORTED',
};

/** The ARN of a run's execution, as Step Functions derives it from the name. */
export function executionArnOf(stateMachineArn: string, runId: string): string {
  return `${stateMachineArn.replace(':stateMachine:', ':execution:')}:${runId}`;
}

/** Starting and watching executions of the state machine; their name is the run id. */
export class StateMachineExecutions implements Pick<Executions, 'start' | 'status'> {
  readonly #client: SFNClient;
  readonly #stateMachineArn: string;

  constructor(client: SFNClient, stateMachineArn: string) {
    this.#client = client;
    this.#stateMachineArn = stateMachineArn;
  }

  async start(runId: string): Promise<void> {
    try {
      // The input is always the same, so that Step Functions takes a repeated start for the one that already exists.
      await this.#client.send(new StartExecutionCommand({ stateMachineArn: this.#stateMachineArn, name: runId, input: '{}' }));
    } catch (error) {
      if (!(error instanceof ExecutionAlreadyExists)) throw error;
    }
  }

  async status(runId: string): Promise<ExecutionStatus | 'NOT_STARTED'> {
    const executionArn = executionArnOf(this.#stateMachineArn, runId);
    try {
      const { status } = await this.#client.send(new DescribeExecutionCommand({ executionArn }));
      if (status === undefined) throw new Error(`${executionArn}: Step Functions gave no status`);
      return STATUS[status];
    } catch (error) {
      if (error instanceof ExecutionDoesNotExist) return 'NOT_STARTED';
      throw error;
    }
  }
}

/** Executions, plus the jobs that one may leave running when it ends. */
export class StoppableExecutions extends StateMachineExecutions implements Executions {
  readonly #jobRuns: JobRuns;

  constructor(client: SFNClient, stateMachineArn: string, jobRuns: JobRuns) {
    super(client, stateMachineArn);
    this.#jobRuns = jobRuns;
  }

  async stopJobs(runId: string): Promise<void> {
    await this.#jobRuns.stop(runId);
  }
}
