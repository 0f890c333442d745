import type { Events } from '../../functions/core/events.ts';
import { JOB_STEPS, LANDING_TABLES, stateOf } from '../../functions/core/steps.ts';
import { parseSettings } from '../../functions/core/settings.ts';
import { definitionHash } from '../../local/projectFiles.ts';
import { MADE } from '../../tools/costs.ts';
import { projectSettings } from '../support/service.ts';
import { stateMachineOf, tasksOf } from './stateMachine.ts';
import { list, object, Template, text, texts } from './template.ts';

const template = new Template('default');
const machine = stateMachineOf(template);
const tasks = tasksOf(machine);
const jobs = new Map(template.ofType('AWS::Glue::Job').map(([, properties]) => [text(properties['Name'] ?? ''), properties]));

const machineArn = 'arn:aws:states:us-east-1:123456789012:stateMachine:stedi-dev-pipeline';
const settings = parseSettings(projectSettings(), 'settings.json');
const { aws } = settings;

describe('a step is one word everywhere', () => {
  test.each(JOB_STEPS)('%s: state, job and argument', (step) => {
    const name = `stedi-dev-${step}`;
    expect(tasks.find(({ state }) => state === stateOf(step))?.JobName).toBe(name);
    expect(object(jobs.get(name)?.['DefaultArguments'])['--step']).toBe(step);
    expect(template.properties(`${stateOf(step)}Job`)['Name']).toBe(name);
  });

  test('there is no job without a state', () => {
    expect([...jobs.keys()].sort()).toEqual(JOB_STEPS.map((step) => `stedi-dev-${step}`).sort());
  });

  test.each([
    ['Plan', 'plan'],
    ['Validate', 'validate'],
    ['Report', 'report'],
    ['ReportFailure', 'report'],
  ])('%s calls %s', (state, name) => {
    expect(tasks.find((task) => task.state === state)?.FunctionName).toBe(
      `arn:aws:lambda:us-east-1:123456789012:function:stedi-dev-${name}`,
    );
  });
});

describe('nothing is waited for longer than it may take', () => {
  test.each(tasks.filter(({ JobName }) => JobName !== undefined))(
    '$state outlasts its job',
    ({ JobName = '', TimeoutSeconds = 0 }) => {
      expect(TimeoutSeconds).toBeGreaterThan(Number(jobs.get(JobName)?.['Timeout']) * 60);
    },
  );

  test.each(tasks.filter(({ FunctionName }) => FunctionName !== undefined))(
    '$state outlasts its function',
    ({ FunctionName = '', TimeoutSeconds = 0 }) => {
      const [, properties] =
        template
          .ofType('AWS::Lambda::Function')
          .find(([, each]) => FunctionName.endsWith(`:${text(each['FunctionName'] ?? '')}`)) ?? [];
      expect(TimeoutSeconds).toBeGreaterThanOrEqual(Number(properties?.['Timeout']));
    },
  );

  test('the machine has an end', () => {
    expect(machine.TimeoutSeconds).toBeLessThanOrEqual(86_400);
    // Each job may use its full timeout before the run as a whole is stopped.
    const minutes = [...jobs.values()].reduce((sum, { Timeout }) => sum + Number(Timeout), 0);
    expect(machine.TimeoutSeconds).toBeGreaterThan(minutes * 60);
    expect(machine.States['Settle']?.Seconds).toBe(settings.settleSeconds);
  });

  test('a message stays hidden for six times the timeout of its function', () => {
    const timeout = Number(template.properties('CatalogLambdaFunction')['Timeout']);
    expect(Number(template.properties('FilesQueue')['VisibilityTimeout'])).toBeGreaterThanOrEqual(6 * timeout);
  });
});

describe('jobs', () => {
  test.each([...jobs])('%s runs once at a time, on Glue 5.1, and is never tried again by itself', (name, properties) => {
    expect(properties).toMatchObject({
      GlueVersion: '5.1',
      WorkerType: 'G.1X',
      MaxRetries: 0,
      JobRunQueuingEnabled: true,
      ...(name === 'stedi-dev-publish'
        ? { NumberOfWorkers: 2, Timeout: 55 }
        : { NumberOfWorkers: aws.maxWorkers, Timeout: aws.jobTimeoutMinutes }),
      ExecutionProperty: { MaxConcurrentRuns: 1 },
      Command: { Name: 'glueetl', PythonVersion: '3' },
    });
    expect(properties['DefaultArguments']).toMatchObject({
      '--lake': 's3://stedi-dev-lake-123456789012-us-east-1',
      '--landing': 's3://stedi-dev-landing-123456789012-us-east-1',
      '--ledger': 'stedi-dev-ledger',
      '--database': 'stedi_dev',
      '--snapshot_days': '7',
      '--datalake-formats': 'iceberg',
      '--enable-auto-scaling': 'true',
      '--enable-metrics': 'true',
      '--enable-observability-metrics': 'true',
    });
    expect(Object.values(object(properties['DefaultArguments'])).filter((value) => typeof value !== 'string')).toEqual([]);
  });
});

describe('events', () => {
  const rules = template.ofType('AWS::Events::Rule');

  test('files of the landing tables, and no others, go to the queue', () => {
    const detail = object(object(template.properties('LandedRule')['EventPattern'])['detail']);
    expect(detail['bucket']).toEqual({ name: ['stedi-dev-landing-123456789012-us-east-1'] });
    expect(detail['object']).toEqual({ key: LANDING_TABLES.map((table) => ({ prefix: `${table}/` })) });
  });

  test('every end of an execution of this machine, and the clock, wake reconcile', () => {
    expect(object(template.properties('ExecutionEndedRule')['EventPattern'])['detail']).toEqual({
      stateMachineArn: ['arn:aws:states:us-east-1:123456789012:stateMachine:stedi-dev-pipeline'],
      status: ['SUCCEEDED', 'FAILED', 'TIMED_OUT', 'ABORTED'],
    });
    expect(template.properties('ScheduleRule')['ScheduleExpression']).toBe('rate(15 minutes)');
    const permitted = template.ofType('AWS::Lambda::Permission').map(([, { SourceArn }]) => SourceArn);
    const waking = rules
      .filter(([id]) => id !== 'LandedRule')
      .map(([, { Name }]) => `arn:aws:events:us-east-1:123456789012:rule/${text(Name ?? '')}`);
    expect(permitted.sort()).toEqual(waking.sort());
  });

  test.each([
    ['LandedRule', 'aws.s3', 'Object Created', 'arn:aws:sqs:us-east-1:123456789012:stedi-dev-files'],
    [
      'ExecutionEndedRule',
      'aws.states',
      'Step Functions Execution Status Change',
      'arn:aws:lambda:us-east-1:123456789012:function:stedi-dev-reconcile',
    ],
    ['ScheduleRule', undefined, undefined, 'arn:aws:lambda:us-east-1:123456789012:function:stedi-dev-reconcile'],
  ])('%s hears of its events and passes them on, for a day', (id, source, type, target) => {
    const { EventPattern = {}, Targets } = template.properties(id);
    expect([object(EventPattern)['source'], object(EventPattern)['detail-type']]).toEqual([source && [source], type && [type]]);
    expect(list(Targets)).toMatchObject([
      { Arn: target, RetryPolicy: { MaximumEventAgeInSeconds: 86_400, MaximumRetryAttempts: 185 } },
    ]);
  });

  test('the queue of files takes what its rule sends', () => {
    const [allowed] = list(object(template.properties('FilesQueuePolicy')['PolicyDocument'])['Statement']);
    expect(allowed).toMatchObject({
      Principal: { Service: 'events.amazonaws.com' },
      Action: 'sqs:SendMessage',
      Condition: { ArnEquals: { 'aws:SourceArn': 'arn:aws:events:us-east-1:123456789012:rule/stedi-dev-landed' } },
    });
  });

  test.each(rules)('%s leaves what it cannot deliver in a queue that takes it', (_, { Name, Targets }) => {
    for (const target of list(Targets)) {
      const queue = object(object(target)['DeadLetterConfig'])['Arn'];
      const rule = `arn:aws:events:us-east-1:123456789012:rule/${text(Name ?? '')}`;
      const policies = template.ofType('AWS::SQS::QueuePolicy').map(([, { PolicyDocument }]) => JSON.stringify(PolicyDocument));
      expect(policies.some((policy) => policy.includes(`"Resource":"${text(queue ?? '')}"`) && policy.includes(rule))).toBe(true);
    }
  });

  test('the queue gives up after five tries, in batches whose messages fail alone', () => {
    expect(template.properties('FilesQueue')['RedrivePolicy']).toEqual({
      deadLetterTargetArn: 'arn:aws:sqs:us-east-1:123456789012:stedi-dev-file-dead-letters',
      maxReceiveCount: 5,
    });
    const [[, mapping] = []] = template.ofType('AWS::Lambda::EventSourceMapping');
    expect(mapping).toMatchObject({
      FunctionResponseTypes: ['ReportBatchItemFailures'],
      ScalingConfig: { MaximumConcurrency: 5 },
      BatchSize: 50,
      MaximumBatchingWindowInSeconds: 1,
    });
  });

  test('reconcile leaves what it cannot do in a queue', () => {
    const [[, config] = []] = template.ofType('AWS::Lambda::EventInvokeConfig');
    expect(config).toMatchObject({ MaximumEventAgeInSeconds: 21_600, MaximumRetryAttempts: 2 }); // three tries, docs/operations.md
    expect(object(object(config?.['DestinationConfig'])['OnFailure'])['Destination']).toBe(
      'arn:aws:sqs:us-east-1:123456789012:stedi-dev-reconcile-dead-letters',
    );
  });
});

describe('alarms', () => {
  const alarms = template.ofType('AWS::CloudWatch::Alarm');

  test.each(alarms)('%s tells the topic, and when what goes on is over', (id, { AlarmActions, OKActions, AlarmDescription }) => {
    const topic = ['arn:aws:sns:us-east-1:123456789012:stedi-dev-alarms'];
    expect(AlarmActions).toEqual(topic);
    // A failed run stays failed.
    expect(OKActions).toEqual(/^Runs(Failed|TimedOut)/.test(id) ? undefined : topic);
    expect(text(AlarmDescription ?? '').length).toBeGreaterThan(20);
  });

  /** What each means according to docs/operations.md. */
  test.each([
    ['RunsFailedAlarm', 'AWS/States', 'ExecutionsFailed', machineArn, 'Sum', 300, '>= 1'],
    ['RunsTimedOutAlarm', 'AWS/States', 'ExecutionsTimedOut', machineArn, 'Sum', 300, '>= 1'],
    ['RunOverdueAlarm', 'stedi-dev', 'RunMinutes', undefined, 'Maximum', 900, `> ${aws.overdueMinutes}`],
    ['OldestPendingAlarm', 'stedi-dev', 'OldestPendingMinutes', undefined, 'Maximum', 900, `> ${aws.waitingMinutes}`],
    ['ReconcileSilentAlarm', undefined, undefined, undefined, undefined, undefined, '< 1'],
    ['FilesUncatalogedAlarm', 'AWS/SQS', 'ApproximateAgeOfOldestMessage', 'stedi-dev-files', 'Maximum', 300, '> 1800'],
    ...(['file', 'event', 'reconcile'] as const).map(
      (of) =>
        [
          `${of.charAt(0).toUpperCase()}${of.slice(1)}DeadLettersAlarm`,
          'AWS/SQS',
          'ApproximateNumberOfMessagesVisible',
          `stedi-dev-${of}-dead-letters`,
          'Maximum',
          300,
          '>= 1',
        ] as const,
    ),
    ['ThrottlesAlarm', undefined, undefined, undefined, undefined, undefined, '>= 1'],
  ] as const)('%s rings when it should', (id, namespace, metric, of, statistic, period, limit) => {
    const { Namespace, MetricName, Dimensions, Statistic, Period, ComparisonOperator, Threshold, ...rest } =
      template.properties(id);
    const [dimension] = Dimensions === undefined ? [] : list(Dimensions);
    const sign = { GreaterThanThreshold: '>', GreaterThanOrEqualToThreshold: '>=', LessThanThreshold: '<' }[
      text(ComparisonOperator ?? '')
    ];
    expect([
      Namespace,
      MetricName,
      dimension && object(dimension)['Value'],
      Statistic,
      Period,
      `${sign} ${JSON.stringify(Threshold)}`,
    ]).toEqual([namespace, metric, of, statistic, period, limit]);
    expect(rest).toMatchObject({
      EvaluationPeriods:
        new Map<string, number>([
          ['ThrottlesAlarm', 3],
          ['ReconcileSilentAlarm', 4],
        ]).get(id) ?? 1,
      TreatMissingData: id === 'ReconcileSilentAlarm' ? 'breaching' : 'notBreaching',
    });
  });

  test('an hour of silence is four quarters in each of which reconcile has said nothing', () => {
    expect(template.properties('ReconcileSilentAlarm')['Metrics']).toEqual([
      { Id: 'looks', Expression: 'FILL(logged, 0)', Label: 'Looks' },
      {
        Id: 'logged',
        ReturnData: false,
        MetricStat: { Stat: 'SampleCount', Period: 900, Metric: { Namespace: 'stedi-dev', MetricName: 'OldestPendingMinutes' } },
      },
    ]);
  });

  test('every dead letter queue has one', () => {
    const queues = template
      .ofType('AWS::SQS::Queue')
      .flatMap(([id, { QueueName }]) => (id.endsWith('DeadLetters') ? [text(QueueName ?? '')] : []));
    const watched = alarms
      .filter(([, { MetricName }]) => MetricName === 'ApproximateNumberOfMessagesVisible')
      .flatMap(([, { Dimensions }]) => list(Dimensions).map((each) => object(each)['Value']));
    expect(watched.sort()).toEqual(queues.sort());
    expect(queues).toHaveLength(3);
  });

  test('every function and the ledger are watched for throttles', () => {
    const [, throttles] = alarms.find(([id]) => id === 'ThrottlesAlarm') ?? [];
    const watched = JSON.stringify(throttles?.['Metrics']);
    for (const [, { FunctionName }] of template.ofType('AWS::Lambda::Function'))
      expect(watched).toContain(`"${text(FunctionName ?? '')}"`);
    expect(watched).toContain('"stedi-dev-ledger"');
    expect(watched).toContain(':stateMachine:stedi-dev-pipeline"');
    expect([...watched.matchAll(/"MetricName":"(\w+)"/g)].map(([, name]) => name).sort()).toEqual([
      'ExecutionThrottled',
      'ReadThrottleEvents',
      ...Array<string>(5).fill('Throttles'),
      'WriteThrottleEvents',
    ]);
  });

  test('what they and the dashboard show of this pipeline is measured', () => {
    const measured = template
      .ofType('AWS::Logs::MetricFilter')
      .flatMap(([, { MetricTransformations }]) =>
        list(MetricTransformations).map((each) => text(object(each)['MetricName'] ?? '')),
      );
    const alarmed = alarms
      .filter(([, { Namespace }]) => Namespace === 'stedi-dev')
      .map(([, { MetricName }]) => text(MetricName ?? ''));
    const shown = [...text(template.properties('Dashboard')['DashboardBody'] ?? '').matchAll(/\["stedi-dev", "(\w+)"/g)].map(
      ([, name = '']) => name,
    );
    expect([...new Set([...alarmed, ...shown])].sort()).toEqual([...new Set(measured)].sort());
  });

  test('what is measured are fields of events that the function logs', () => {
    type Fields = { [Name in keyof Events]?: (keyof Events[Name])[] };
    const logged = {
      report: { run_reported: ['duplicate', 'files', 'landed', 'rejected', 'staged', 'withheld'] } satisfies Fields,
      reconcile: { backlog: ['oldestPendingMinutes', 'pendingFiles', 'runMinutes'], job_ended: ['dpuSeconds'] } satisfies Fields,
    };
    const read = template.ofType('AWS::Logs::MetricFilter').map(([, { LogGroupName, FilterPattern, MetricTransformations }]) => {
      const [, event = ''] = /\$\.event = "(\w+)"/.exec(text(FilterPattern ?? '')) ?? [];
      const [transformation = {}] = list(MetricTransformations);
      return `${text(LogGroupName ?? '')} ${event} ${text(object(transformation)['MetricValue'] ?? '')}`;
    });
    const expected = Object.entries(logged).flatMap(([name, events]) =>
      Object.entries<string[]>(events).flatMap(([event, fields]) =>
        fields.map((field) => `/aws/lambda/stedi-dev-${name} ${event} $.${field}`),
      ),
    );
    expect(read.sort()).toEqual(expected.sort());
    // Of runs that published: the others withhold nothing from anybody.
    expect(template.properties('WithheldMetric')['FilterPattern']).toContain('$.status = "SUCCEEDED"');
  });

  test('names that all regions of an account share tell the region', () => {
    const shared = ['AWS::IAM::Role', 'AWS::IAM::ManagedPolicy', 'AWS::CloudWatch::Dashboard'].flatMap((type) =>
      template
        .ofType(type)
        .flatMap(([, { RoleName, ManagedPolicyName, DashboardName }]) => [RoleName, ManagedPolicyName, DashboardName]),
    );
    expect(shared.filter((name) => name !== undefined).sort()).toEqual([
      'stedi-dev-customer-producer-us-east-1',
      'stedi-dev-data-scientist-us-east-1',
      'stedi-dev-readings-producer-us-east-1',
      'stedi-dev-us-east-1',
    ]);
  });

  test('the dashboard is JSON, and shows every alarm', () => {
    const body: unknown = JSON.parse(text(template.properties('Dashboard')['DashboardBody'] ?? ''));
    const shown = JSON.stringify(body);
    for (const [id, { AlarmName }] of alarms)
      expect(shown.includes(`"${id}.Arn"`) || shown.includes(`:alarm:${text(AlarmName ?? '')}"`)).toBe(true);
  });

  test('reports and alarms go by e-mail where the settings name an address', () => {
    expect(template.ofType('AWS::SNS::Subscription')).toEqual([]);
    const subscriptions = new Template('vpc').ofType('AWS::SNS::Subscription').map(([, properties]) => properties);
    expect(subscriptions).toEqual(
      ['alerts', 'alarms'].map((topic) => ({
        TopicArn: `arn:aws:sns:us-east-1:123456789012:stedi-dev-${topic}`,
        Protocol: 'email',
        Endpoint: 'alerts@example.org',
      })),
    );
  });
});

describe('functions', () => {
  test('know what tables are built from by the hash that one machine uses', () => {
    const expected = definitionHash(settings);
    for (const id of ['PlanLambdaFunction', 'ReconcileLambdaFunction'])
      expect(object(object(template.properties(id)['Environment'])['Variables'])['DEFINITION']).toBe(expected);
  });

  test('are told the same names of the same things, and have time and memory for their work', () => {
    const NAMES = {
      LANDING_BUCKET: 'stedi-dev-landing-123456789012-us-east-1',
      LAKE_BUCKET: 'stedi-dev-lake-123456789012-us-east-1',
      LEDGER_TABLE: 'stedi-dev-ledger',
      DATABASE: 'stedi_dev',
      STATE_MACHINE_ARN: machineArn,
      TOPIC_ARN: 'arn:aws:sns:us-east-1:123456789012:stedi-dev-alerts',
      JOB_PREFIX: 'stedi-dev-', // of the jobs' names
    };
    for (const [id, { Environment, Timeout, MemorySize }] of template.ofType('AWS::Lambda::Function')) {
      const { DEFINITION = 'of some models', ...names } = object(object(Environment)['Variables']);
      expect({ ...NAMES, DEFINITION }).toMatchObject(names);
      const catalog = id === 'CatalogLambdaFunction';
      expect(Number(Timeout)).toBeGreaterThanOrEqual(catalog ? 60 : 300);
      expect(Number(MemorySize)).toBeGreaterThanOrEqual(catalog ? 512 : 1024);
    }
  });

  test('are traced, and told the names of resources that there are', () => {
    for (const [, { TracingConfig, Environment }] of template.ofType('AWS::Lambda::Function')) {
      expect(TracingConfig).toEqual({ Mode: 'Active' });
      for (const value of texts(Object.values(object(object(Environment)['Variables']))))
        expect(value).not.toMatch(/undefined|\$\{/);
    }
  });
});

describe('left out', () => {
  const made = new Set(new Template('least').resources.map(([id]) => id));
  const left = template.resources.map(([id]) => id).filter((id) => !made.has(id));

  test('are what holds data, where it is there already, and what an emulator does not know', () => {
    expect(left.sort()).toEqual(
      [
        ...['LandingBucket', 'LandingBucketPolicy', 'LakeBucket', 'LakeBucketPolicy', 'LedgerTable', 'LakeDatabase'],
        ...['ReconcileSilentAlarm', 'ThrottlesAlarm', 'LandingCountsQuery', 'ConsentQuery', 'IdentityQuery'],
      ].sort(),
    );
  });

  test('what is left of the template uses the same names', () => {
    const environments = (of: Template) =>
      of.ofType('AWS::Lambda::Function').map(([, { Environment }]) => object(Environment)['Variables']);
    expect(environments(new Template('least'))).toEqual(environments(template));
    const { LANDING_BUCKET, LAKE_BUCKET, LEDGER_TABLE, DATABASE } = object(environments(template).at(-1));
    expect(template.properties('LandingBucket')['BucketName']).toBe(LANDING_BUCKET);
    expect(template.properties('LakeBucket')['BucketName']).toBe(LAKE_BUCKET);
    expect(template.properties('LedgerTable')['TableName']).toBe(LEDGER_TABLE);
    expect(object(template.properties('LakeDatabase')['DatabaseInput'])['Name']).toBe(DATABASE);
  });
});

test('the costs count what the template makes', () => {
  const alarms = template
    .ofType('AWS::CloudWatch::Alarm')
    .map(([, { Metrics }]) => (Metrics === undefined ? 1 : list(Metrics).filter((each) => 'MetricStat' in object(each)).length));
  const filters = template.ofType('AWS::Logs::MetricFilter');
  const endpoints = new Template('vpc')
    .ofType('AWS::EC2::VPCEndpoint')
    .filter(([, { VpcEndpointType }]) => VpcEndpointType === 'Interface');
  expect(MADE).toEqual({
    alarmMetrics: alarms.reduce((sum, metrics) => sum + metrics, 0),
    customMetrics: filters.length,
    metricsOfSchedule: filters.filter(([, { FilterPattern }]) => text(FilterPattern ?? '').includes('backlog')).length,
    interfaceEndpoints: endpoints.length,
    zones: new Template('vpc').ofType('AWS::EC2::Subnet').length,
    states: Object.values(machine.States).filter(({ Type }) => Type !== 'Fail').length - 2, // all but NothingToDo and ReportFailure
  });
});
