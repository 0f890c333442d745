import { z } from 'zod';
import { text } from './template.ts';
import type { Template } from './template.ts';

const stateSchema = z.looseObject({
  Type: z.string(),
  Resource: z.string().optional(),
  Parameters: z.looseObject({ FunctionName: z.string().optional(), JobName: z.string().optional() }).optional(),
  TimeoutSeconds: z.int().optional(),
  Seconds: z.int().optional(),
});
const stateMachineSchema = z.looseObject({
  StartAt: z.string(),
  TimeoutSeconds: z.int(),
  States: z.record(z.string(), stateSchema),
});
export type StateMachine = z.infer<typeof stateMachineSchema>;

/** The definition that is deployed, names of functions and jobs resolved. */
export function stateMachineOf(template: Template): StateMachine {
  const { DefinitionString } = template.properties('PipelineStateMachine');
  return stateMachineSchema.parse(JSON.parse(text(DefinitionString ?? '')));
}

export interface Task {
  state: string;
  Resource: string;
  FunctionName: string | undefined;
  JobName: string | undefined;
  TimeoutSeconds: number | undefined;
}

/** Its Task states with what they call. */
export function tasksOf({ States }: StateMachine): Task[] {
  return Object.entries(States)
    .filter(([, { Type }]) => Type === 'Task')
    .map(([state, { Resource = '', Parameters, TimeoutSeconds }]) => ({
      state,
      Resource,
      FunctionName: Parameters?.FunctionName,
      JobName: Parameters?.JobName,
      TimeoutSeconds,
    }));
}
