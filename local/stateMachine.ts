import { parse } from 'yaml';
import { z } from 'zod';
import { JOB_STEPS, stateOf } from '../functions/core/steps.ts';
import type { JobStep } from '../functions/core/steps.ts';
import type { Settings } from '../functions/core/settings.ts';
import { projectFile } from './projectFiles.ts';

/** What reading the state machine's text requires: states with their types; everything else stays as it is. */
const definitionSchema = z.looseObject({
  StartAt: z.string(),
  States: z.record(z.string(), z.looseObject({ Type: z.string(), Resource: z.string().optional(), Next: z.string().optional() })),
});
export type Definition = z.infer<typeof definitionSchema>;

/**
 * Reads `statemachine/pipeline.asl.yaml`, shared by both homes: `!GetAtt X` and `!Ref X` become `${X}`,
 * and `${setting:key}` becomes that setting.
 */
export function stateMachine(settings: Settings): Definition {
  const customTags = ['GetAtt', 'Ref'].map((name) => ({ tag: `!${name}`, resolve: (value: string) => `\${${value}}` }));
  const text = projectFile('statemachine/pipeline.asl.yaml').replace(/\$\{setting:(\w+)\}/g, (_, key: string) =>
    String(Reflect.get(settings, key)),
  );
  return definitionSchema.parse(parse(text, { customTags, merge: true }));
}

/** What a Task state calls on one machine, in place of Lambda and Glue. */
interface LocalResources {
  lambda: Record<'plan' | 'validate' | 'report', (payload: unknown) => Promise<unknown>>;
  job: (step: JobStep, args: unknown) => Promise<void>;
}

type Json = z.infer<ReturnType<typeof z.json>>;
export type Handler = (parameters: unknown) => Promise<Json>;

const lambdaCall = z.looseObject({ FunctionName: z.string(), Payload: z.unknown() });
const jobCall = z.looseObject({ JobName: z.string(), Arguments: z.unknown() });

/**
 * Local handlers by state name, for every Task state: the one place where AWS resources are mapped.
 * @throws Error for a resource that is not mapped, which would otherwise be called on AWS
 */
export function localHandlers(definition: Definition, { lambda, job }: LocalResources): Record<string, Handler> {
  const functions = new Map(Object.entries(lambda).map(([name, call]) => [`\${${stateOf(name)}LambdaFunction.Arn}`, call]));
  const jobs = new Map<string, JobStep>(JOB_STEPS.map((step) => [`\${${stateOf(step)}Job}`, step]));
  const invoke: Handler = async (parameters) => {
    const { FunctionName, Payload } = lambdaCall.parse(parameters);
    const answer = await known(functions, FunctionName)(Payload);
    return { StatusCode: 200, Payload: z.json().parse(JSON.parse(JSON.stringify(answer))) }; // as it travels from Lambda
  };
  const startJob: Handler = async (parameters) => {
    const { JobName, Arguments } = jobCall.parse(parameters);
    const step = known(jobs, JobName);
    await job(step, Arguments);
    return { JobName, JobRunState: 'SUCCEEDED' };
  };
  const resources = new Map<string, Handler>([
    ['arn:aws:states:::lambda:invoke', invoke],
    ['arn:aws:states:::glue:startJobRun.sync', startJob],
  ]);
  const tasks = Object.entries(definition.States).filter(([, state]) => state.Type === 'Task');
  return Object.fromEntries(tasks.map(([name, state]) => [name, known(resources, state.Resource ?? 'none')]));
}

function known<T>(map: Map<string, T>, key: string): T {
  const value = map.get(key);
  if (value === undefined)
    throw new Error(
      `statemachine/pipeline.asl.yaml: ${key} has no counterpart on one machine; known are ${[...map.keys()].join(', ')}`,
    );
  return value;
}
