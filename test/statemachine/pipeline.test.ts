import aslValidator from 'asl-validator';
import { StateMachine } from 'aws-local-stepfunctions';
import { z } from 'zod';
import { COUNTS_DIFFER } from '../../functions/core/reportRun.ts';
import { JOB_STEPS, MODEL_TABLES, stateOf } from '../../functions/core/steps.ts';
import { sqlFiles } from '../../local/projectFiles.ts';
import { localHandlers, stateMachine } from '../../local/stateMachine.ts';
import type { Handler } from '../../local/stateMachine.ts';
import { settingsWith } from '../support/lakes.ts';

// The file, as far as it must follow rules of its own

const retrier = z.strictObject({
  ErrorEquals: z.array(z.string()).min(1),
  IntervalSeconds: z.int().min(1),
  MaxAttempts: z.int().min(1),
  MaxDelaySeconds: z.int().min(1).optional(),
  BackoffRate: z.number().min(1),
  JitterStrategy: z.literal('FULL'),
});
const catcher = z.strictObject({ ErrorEquals: z.array(z.string()).min(1), ResultPath: z.string(), Next: z.string() });
const lambdaParameters = z.strictObject({ FunctionName: z.string(), Payload: z.record(z.string(), z.string()) });
const glueParameters = z.strictObject({ JobName: z.string(), Arguments: z.record(z.string().startsWith('--'), z.string()) });
const LAMBDA = 'arn:aws:states:::lambda:invoke';
const GLUE = 'arn:aws:states:::glue:startJobRun.sync';

const common = { Comment: z.string().optional(), Next: z.string().optional(), End: z.literal(true).optional() };
const task = z.strictObject({
  ...common,
  Type: z.literal('Task'),
  Resource: z.enum([LAMBDA, GLUE]),
  Parameters: z.union([lambdaParameters, glueParameters]),
  ResultSelector: z.record(z.string(), z.string()).optional(),
  ResultPath: z.union([z.null(), z.literal('$.report')]).optional(),
  TimeoutSeconds: z.int().min(1),
  Retry: z.array(retrier).min(1),
  Catch: z.array(catcher).min(1),
});
const choice = z.strictObject({
  ...common,
  Type: z.literal('Choice'),
  Choices: z.array(z.looseObject({ Next: z.string() })),
  Default: z.string(),
});
const state = z.union([
  task,
  choice,
  z.strictObject({ ...common, Type: z.literal('Wait'), Seconds: z.int() }),
  z.strictObject({ ...common, Type: z.literal('Succeed') }),
  z.strictObject({ ...common, Type: z.literal('Fail'), ErrorPath: z.string(), CausePath: z.string() }),
  z.strictObject({ ...common, Type: z.literal('Fail'), Error: z.string(), Cause: z.string() }),
]);
const pipeline = z.strictObject({
  Comment: z.string(),
  StartAt: z.string(),
  TimeoutSeconds: z.int(),
  States: z.record(z.string(), state),
});

const DEFINITION = stateMachine(settingsWith({ settleSeconds: 7 }));
const { StartAt, States } = pipeline.parse(DEFINITION);
const TASKS = new Map(Object.entries(States).flatMap(([name, each]) => (each.Type === 'Task' ? [[name, each] as const] : [])));
const WORK = ['Plan', ...JOB_STEPS.slice(0, -1).map(stateOf), 'Validate', 'Publish', 'Report'];

function taskOf(name: string): z.infer<typeof task> {
  const found = TASKS.get(name);
  if (found === undefined) throw new Error(`${name} is no Task`);
  return found;
}

/** The states that may follow a state. */
function nextOf(name: string): string[] {
  const from = States[name];
  if (from === undefined) throw new Error(`there is no state ${name}`);
  const caught = from.Type === 'Task' ? from.Catch.map(({ Next }) => Next) : [];
  const chosen = from.Type === 'Choice' ? [...from.Choices.map(({ Next }) => Next), from.Default] : [];
  return [...(from.Next === undefined ? [] : [from.Next]), ...caught, ...chosen];
}

function reachableFrom(name: string): Set<string> {
  const reached = new Set<string>();
  const open = [name];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (reached.has(next)) continue;
    reached.add(next);
    open.push(...nextOf(next));
  }
  return reached;
}

describe('the file', () => {
  test('is a valid state machine', () => {
    const { isValid, errorsText } = aslValidator(DEFINITION);
    expect(isValid ? 'valid' : errorsText('\n')).toBe('valid');
  });

  test('takes the time to settle from the settings', () => {
    expect(States[StartAt]).toMatchObject({ Type: 'Wait', Seconds: 7 });
  });

  test('has a state for each step, and the steps in their order', () => {
    const way: string[] = [];
    for (let name: string | undefined = 'Plan'; name !== undefined;) {
      const each: z.infer<typeof state> | undefined = States[name];
      if (each?.Type === 'Task') way.push(name);
      name = each?.Type === 'Choice' ? each.Default : each !== undefined && 'Next' in each ? each.Next : undefined;
    }
    expect(way).toEqual(WORK);
    expect([...TASKS.keys()].sort()).toEqual([...WORK, 'ReportFailure'].sort());
  });

  test.each(JOB_STEPS.map((step) => [stateOf(step), step] as const))('%s starts its own job', (name, step) => {
    const { Resource, Parameters } = taskOf(name);
    expect(Resource).toBe(GLUE);
    const { JobName, Arguments } = glueParameters.parse(Parameters);
    expect(JobName).toBe(`\${${name}Job}`);
    // Glue takes text: the run id and the fence come as such from Plan.
    expect(Arguments).toEqual({ '--run_id.$': '$.runId', '--fence.$': '$.fence' });
    if (step !== 'publish') expect(sqlFiles('models').has(step)).toBe(true);
  });

  test('has a job for each model, but for the view that they share', () => {
    expect([...sqlFiles('models').keys()].sort()).toEqual([...MODEL_TABLES, 'current_customer'].sort());
  });

  test.each([
    ['Plan', 'Plan', { 'runId.$': '$$.Execution.Name' }],
    ['Validate', 'Validate', { 'runId.$': '$.runId' }],
    ['Report', 'Report', { 'runId.$': '$.runId' }],
    ['ReportFailure', 'Report', { 'runId.$': '$$.Execution.Name', 'error.$': '$.error' }],
  ])('%s calls the function %s', (name, called, payload) => {
    const { Resource, Parameters } = taskOf(name);
    expect(Resource).toBe(LAMBDA);
    expect(Parameters).toEqual({ FunctionName: `\${${called}LambdaFunction.Arn}`, Payload: payload });
  });

  test.each([...TASKS.keys()])('%s: States.ALL comes last and alone, in Retry and in Catch', (name) => {
    const { Retry, Catch } = taskOf(name);
    for (const rules of [Retry, Catch]) {
      for (const [at, { ErrorEquals }] of rules.entries()) {
        if (!ErrorEquals.includes('States.ALL')) continue;
        expect(ErrorEquals).toEqual(['States.ALL']);
        expect(at).toBe(rules.length - 1);
      }
    }
    expect(Retry.flatMap(({ ErrorEquals }) => ErrorEquals)).not.toContain('States.ALL');
  });

  test.each(WORK)('%s: every failure goes to ReportFailure', (name) => {
    expect(taskOf(name).Catch).toEqual([{ ErrorEquals: ['States.ALL'], ResultPath: '$.error', Next: 'ReportFailure' }]);
  });

  test('a failing ReportFailure goes to Failed', () => {
    expect(taskOf('ReportFailure')).toMatchObject({ Next: 'Failed', Catch: [{ ErrorEquals: ['States.ALL'], Next: 'Failed' }] });
  });

  test('what is caught ends in Fail and nowhere else', () => {
    const ends = [...reachableFrom('ReportFailure')].filter((name) => nextOf(name).length === 0);
    expect(ends).toEqual(['Failed']);
    expect(States['Failed']).toMatchObject({ Type: 'Fail', ErrorPath: '$.error.Error', CausePath: '$.error.Cause' });
  });

  test('every state can be reached, and every one that is named is there', () => {
    expect([...reachableFrom(StartAt)].sort()).toEqual(Object.keys(States).sort());
  });

  test.each(Object.keys(States))('%s goes on or ends', (name) => {
    const each = States[name];
    const ends = each?.Type === 'Choice' || each?.Type === 'Succeed' || each?.Type === 'Fail';
    expect([each?.Next !== undefined, each?.End === true].filter(Boolean)).toHaveLength(ends ? 0 : 1);
  });
});

describe('on one machine', () => {
  const nothing = {
    lambda: { plan: async () => null, validate: async () => null, report: async () => null },
    job: async () => undefined,
  };

  test('every Task has a handler', () => {
    expect(Object.keys(localHandlers(DEFINITION, nothing)).sort()).toEqual([...TASKS.keys()].sort());
  });

  test('a resource without a counterpart is refused, for it would be called on AWS', () => {
    const other = structuredClone(DEFINITION);
    Object.assign(other.States['Plan'] ?? {}, { Resource: 'arn:aws:states:::sns:publish' });
    expect(() => localHandlers(other, nothing)).toThrow(/sns:publish has no counterpart/);
  });

  test('a function or job without a counterpart is refused when it is called', async () => {
    const handlers = localHandlers(DEFINITION, nothing);
    await expect(handlers['Plan']?.({ FunctionName: '${OtherLambdaFunction.Arn}', Payload: {} })).rejects.toThrow(
      /OtherLambdaFunction/,
    );
    await expect(handlers['Publish']?.({ JobName: '${OtherJob}', Arguments: {} })).rejects.toThrow(/OtherJob/);
  });
});

// The file, executed

interface Call {
  state: string;
  input: unknown;
}

interface Executed {
  status: 'SUCCEEDED' | 'FAILED';
  error: string | null;
  cause: string | null;
  calls: Call[];
  states: string[];
}

/** What functions return when all goes well. */
const ANSWERS: Record<string, Record<string, unknown>> = {
  Plan: { status: 'RUN', runId: 'run-1', fence: '3', files: 2, why: 'files are pending' },
  Report: { runId: 'run-1', status: 'SUCCEEDED' },
};

/** Tasks return that all went well; what a test gives for a state replaces that, call by call. */
async function execute(
  answers: Record<string, (call: number) => unknown> = {},
  plan: Record<string, unknown> = {},
): Promise<Executed> {
  const calls: Call[] = [];
  const answer = async (name: string, input: unknown): Promise<unknown> => {
    calls.push({ state: name, input });
    const own = answers[name];
    const call = calls.filter((each) => each.state === name).length;
    if (own !== undefined) return own(call);
    return { ...ANSWERS[name], ...(name === 'Plan' ? plan : {}) };
  };
  const handlers = Object.fromEntries(
    [...TASKS.keys()].map((name): [string, Handler] => [
      name,
      async (input) => {
        const result = await answer(name, input);
        const payload = z.json().parse(result ?? null);
        return taskOf(name).Resource === LAMBDA ? { StatusCode: 200, Payload: payload } : { JobRunState: 'SUCCEEDED' };
      },
    ]),
  );
  const machine = new StateMachine(DEFINITION as ConstructorParameters<typeof StateMachine>[0], {
    validationOptions: { noValidate: true },
  });
  const { result } = machine.run(
    {},
    {
      overrides: {
        taskResourceLocalHandlers: handlers,
        waitTimeOverrides: { Settle: 0 },
        retryIntervalOverrides: Object.fromEntries([...TASKS.keys()].map((name) => [name, 0])),
      },
      context: { Execution: { Name: 'run-1', Input: {}, StartTime: '2026-01-01T00:00:00.000Z' } },
    },
  );
  const states = () => calls.map((call) => call.state);
  return result.then(
    (): Executed => ({ status: 'SUCCEEDED', error: null, cause: null, calls, states: states() }),
    (thrown: unknown): Executed => {
      const { cause } = z.object({ cause: z.object({ name: z.string(), message: z.string() }) }).parse(thrown);
      return { status: 'FAILED', error: cause.name, cause: cause.message, calls, states: states() };
    },
  );
}

function failure(name: string, message = `${name} happened`): Error {
  return Object.assign(new Error(message), { name });
}

function failing(name: string): () => never {
  return () => {
    throw failure(name);
  };
}

describe('executed', () => {
  test('it goes through every step in order and succeeds', async () => {
    const { status, states, calls } = await execute();
    expect(status).toBe('SUCCEEDED');
    expect(states).toEqual(WORK);
    const inputs = new Map(calls.map(({ state: name, input }) => [name, input]));
    expect(inputs.get('Plan')).toMatchObject({ Payload: { runId: 'run-1' } });
    for (const step of JOB_STEPS)
      expect(inputs.get(stateOf(step))).toMatchObject({ Arguments: { '--run_id': 'run-1', '--fence': '3' } });
    expect(inputs.get('Validate')).toMatchObject({ Payload: { runId: 'run-1' } });
    expect(inputs.get('Report')).toEqual({ FunctionName: '${ReportLambdaFunction.Arn}', Payload: { runId: 'run-1' } });
  });

  test('with nothing to do it succeeds after Plan', async () => {
    expect(await execute({}, { status: 'NOTHING_TO_DO', fence: '0', files: 0 })).toMatchObject({
      status: 'SUCCEEDED',
      states: ['Plan'],
    });
  });

  test('when the visible counts are not what the gate saw it is FAILED, and reported once', async () => {
    const { status, error, states } = await execute({ Report: () => ({ runId: 'run-1', status: 'FAILED' }) });
    expect({ status, error }).toEqual({ status: 'FAILED', error: COUNTS_DIFFER });
    expect(states).toEqual(WORK);
  });

  test.each(WORK)('when %s fails, the failure is reported and the execution is FAILED with it', async (name) => {
    const { status, error, cause, states, calls } = await execute({ [name]: failing('SomethingError') });
    expect({ status, error, cause }).toEqual({ status: 'FAILED', error: 'SomethingError', cause: 'SomethingError happened' });
    expect(states).toEqual([...WORK.slice(0, WORK.indexOf(name) + 1), 'ReportFailure']);
    expect(calls.at(-1)?.input).toEqual({
      FunctionName: '${ReportLambdaFunction.Arn}',
      Payload: { runId: 'run-1', error: { Error: 'SomethingError', Cause: 'SomethingError happened' } },
    });
  });

  test('when Plan answers nonsense it is FAILED; no Catch sees an error of paths, so it is for reconcile to report', async () => {
    expect(await execute({ Plan: () => ({ nonsense: true }) })).toMatchObject({ status: 'FAILED', states: ['Plan'] });
  });

  test('a job that never ends is a failure like any other', async () => {
    expect(await execute({ StepTrainerTrusted: failing('States.Timeout') })).toMatchObject({
      status: 'FAILED',
      error: 'States.Timeout',
    });
  });

  test('when the report of a failure fails as well, it is still FAILED with the first error', async () => {
    const executed = await execute({ CustomersCurated: failing('FirstError'), ReportFailure: failing('SecondError') });
    expect(executed).toMatchObject({ status: 'FAILED', error: 'FirstError' });
    expect(executed.states.slice(-2)).toEqual(['CustomersCurated', 'ReportFailure']);
  });

  test('a gate that fails is asked once: nothing would change', async () => {
    const { error, states } = await execute({ Validate: failing('GateFailedError') });
    expect(error).toBe('GateFailedError');
    expect(states.filter((name) => name === 'Validate')).toHaveLength(1);
    expect(states).not.toContain('Publish');
  });

  test.each(['LockLostError', 'LandingChangedError', 'States.TaskFailed'])(
    'a job that fails with %s is started once',
    async (name) => {
      const { states } = await execute({ AccelerometerTrusted: failing(name) });
      expect(states.filter((each) => each === 'AccelerometerTrusted')).toHaveLength(1);
    },
  );
});

describe('retried', () => {
  const retried = [...TASKS].flatMap(([name, { Retry }]) =>
    Retry.flatMap(({ ErrorEquals }) => ErrorEquals.map((error) => [name, error] as const)),
  );

  test('are errors of the services themselves, in every Task', () => {
    expect(new Set(retried.map(([name]) => name))).toEqual(new Set(TASKS.keys()));
    for (const [name, error] of retried) expect(error).toMatch(taskOf(name).Resource === LAMBDA ? /^Lambda\./ : /^Glue\./);
  });

  test('are what passes by itself, longer and longer after each other', () => {
    const lambda = {
      ErrorEquals: [
        'Lambda.ServiceException',
        'Lambda.AWSLambdaException',
        'Lambda.SdkClientException',
        'Lambda.TooManyRequestsException',
      ],
      IntervalSeconds: 2,
      MaxAttempts: 5,
      BackoffRate: 2,
    };
    const glue = {
      ErrorEquals: [
        'Glue.ConcurrentRunsExceededException',
        'Glue.ThrottlingException',
        'Glue.AWSGlueException',
        'Glue.ResourceNumberLimitExceededException',
        'Glue.OperationTimeoutException',
        'Glue.InternalServiceException',
      ],
      IntervalSeconds: 15,
      MaxAttempts: 8,
      MaxDelaySeconds: 300,
      BackoffRate: 2,
    };
    for (const { Resource, Retry } of TASKS.values()) expect(Retry).toMatchObject([Resource === LAMBDA ? lambda : glue]);
  });

  test.each(retried.filter(([name]) => name !== 'ReportFailure'))('%s after %s', async (name, error) => {
    const twice = (call: number): unknown => {
      if (call <= 2) throw failure(error);
      return ANSWERS[name] ?? {};
    };
    const { status, states } = await execute({ [name]: twice });
    expect(status).toBe('SUCCEEDED');
    expect(states.filter((each) => each === name)).toHaveLength(3);
  });

  test('is the report of a failure', async () => {
    const once = (call: number): unknown => (call === 1 ? failing('Lambda.ServiceException')() : {});
    const { error, states } = await execute({ Publish: failing('LockLostError'), ReportFailure: once });
    expect(error).toBe('LockLostError');
    expect(states.slice(-2)).toEqual(['ReportFailure', 'ReportFailure']);
  });

  test('until it is enough: then it is a failure like any other', async () => {
    const { status, error, states } = await execute({ Validate: failing('Lambda.TooManyRequestsException') });
    expect({ status, error }).toEqual({ status: 'FAILED', error: 'Lambda.TooManyRequestsException' });
    expect(states.filter((name) => name === 'Validate')).toHaveLength(1 + (taskOf('Validate').Retry[0]?.MaxAttempts ?? 0));
    expect(states.at(-1)).toBe('ReportFailure');
  });
});
