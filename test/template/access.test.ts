import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { JOB_STEPS, LANDING_TABLES } from '../../functions/core/steps.ts';
import {
  actionsOf,
  BOTO3,
  GLUE,
  GLUE_IN_VPC,
  ICEBERG,
  LAMBDA,
  LAMBDA_FROM_QUEUE,
  LAMBDA_TO_DEAD_LETTERS,
  STATE_MACHINE,
  TASK,
} from './actions.ts';
import { Calls } from './calls.ts';
import { allows, statementsOf } from './policies.ts';
import type { Statement } from './policies.ts';
import { PROJECT } from '../support/service.ts';
import { isObject, list, object, Template, text, texts } from './template.ts';
import { stateMachineOf, tasksOf } from './stateMachine.ts';

const template = new Template('default');
const vpc = new Template('vpc');

function roleOf(functionId: string): string {
  const { Role } = template.all[functionId]?.Properties ?? {};
  const [id = ''] = texts(
    object(Role)['Fn::GetAtt'] ?? list(text(object(Role)['Fn::Sub'] ?? '').replace(/^\$\{(\w+)\.Arn\}$/, '$1')),
  );
  return id;
}

function actionsIn(statements: readonly Statement[]): string[] {
  return [...new Set(statements.flatMap(({ actions }) => actions))].sort();
}

function sorted(...actions: readonly Iterable<string>[]): string[] {
  return [...new Set(actions.flatMap((each) => [...each]))].sort();
}

const functions = template.ofType('AWS::Lambda::Function').map(([id, { Handler }]) => {
  const name = path.basename(text(Handler ?? ''), '.handler');
  return { id, name, entry: path.join(PROJECT, `${text(Handler ?? '').replace(/\.handler$/, '')}.ts`) };
});
const calls = new Calls(functions.map(({ entry }) => entry));

describe('each function has a role of its own, which allows exactly what its code calls', () => {
  test('no two share one', () => {
    const roles = functions.map(({ id }) => roleOf(id));
    expect(new Set(roles).size).toBe(functions.length);
    expect(functions.map(({ name }) => name).sort()).toEqual(['catalog', 'plan', 'reconcile', 'report', 'validate']);
  });

  test.each(functions)('$name writes files of runs and nothing else', ({ id }) => {
    const writes = statementsOf(template, roleOf(id)).filter(({ actions }) =>
      actions.some((each) => /^s3:(?:Put|Delete|\*)/.test(each)),
    );
    for (const resource of writes.flatMap(({ resources }) => resources)) expect(resource).toMatch(/-lake-[^/]+\/runs\//);
  });

  test.each(functions)('$name', ({ id, entry }) => {
    const fromQueue = template
      .ofType('AWS::Lambda::EventSourceMapping')
      .some(([, { FunctionName }]) => text(FunctionName ?? '').includes(text(template.properties(id)['FunctionName'] ?? '')));
    const failsTo = template
      .ofType('AWS::Lambda::EventInvokeConfig')
      .some(([, { FunctionName }]) => FunctionName === template.properties(id)['FunctionName']);
    const expected = sorted(
      actionsOf(calls.of(entry)),
      LAMBDA,
      fromQueue ? LAMBDA_FROM_QUEUE : [],
      failsTo ? LAMBDA_TO_DEAD_LETTERS : [],
    );
    expect(actionsIn(statementsOf(template, roleOf(id)))).toEqual(expected);
  });

  test.each(functions)('$name is given the names of what it may use, and no others', ({ id }) => {
    const { Variables } = object(template.properties(id)['Environment']);
    const resources = statementsOf(template, roleOf(id))
      .flatMap((statement) => statement.resources)
      .join(' ');
    const { LANDING_BUCKET, LAKE_BUCKET, LEDGER_TABLE, STATE_MACHINE_ARN, TOPIC_ARN, JOB_PREFIX } = object(Variables);
    const used = (name: string) => resources.includes(name);
    expect(LANDING_BUCKET !== undefined).toBe(used('-landing-'));
    expect(LEDGER_TABLE !== undefined).toBe(used('stedi-dev-ledger'));
    expect(STATE_MACHINE_ARN !== undefined).toBe(used(':stateMachine:'));
    expect(TOPIC_ARN !== undefined).toBe(used('stedi-dev-alerts'));
    expect(JOB_PREFIX !== undefined).toBe(used(':job/'));
    expect(LAKE_BUCKET !== undefined).toBe(used('-lake-'));
  });
});

describe('the role of the state machine', () => {
  const statements = statementsOf(template, 'PipelineRole');
  const tasks = tasksOf(stateMachineOf(template));

  test('allows what its Tasks do, and to log and trace', () => {
    const expected = sorted(...tasks.map(({ Resource }) => TASK[Resource] ?? [`nothing is known of ${Resource}`]), STATE_MACHINE);
    expect(actionsIn(statements)).toEqual(expected);
  });

  test('on the functions and jobs that it names', () => {
    const functionArns = tasks.flatMap(({ FunctionName }) => (FunctionName === undefined ? [] : [FunctionName]));
    const jobs = tasks.flatMap(({ JobName }) =>
      JobName === undefined ? [] : [`arn:aws:glue:us-east-1:123456789012:job/${JobName}`],
    );
    const on = (action: string) =>
      statements.filter(({ actions }) => actions.includes(action)).flatMap(({ resources }) => resources);
    expect(on('lambda:InvokeFunction').sort()).toEqual([...new Set(functionArns)].sort());
    expect(on('glue:StartJobRun').sort()).toEqual(jobs.sort());
    expect(jobs).toHaveLength(JOB_STEPS.length);
  });
});

describe('the role of the jobs', () => {
  const python = globSync('glue/**/*.py', { cwd: PROJECT }).map((file) => readFileSync(path.join(PROJECT, file), 'utf8'));
  const called = python.flatMap((source) => [...source.matchAll(/client(?:\(\))?\.([a-z_]+)\(/g)].map(([, name = '']) => name));
  const needed = sorted(...called.map((name) => BOTO3[name] ?? [`nothing is known of ${name}`]), ICEBERG);

  test('allows what the Python code and Iceberg call, and what Glue does itself', () => {
    expect(sorted(called)).toEqual(Object.keys(BOTO3).sort());
    expect(actionsIn(statementsOf(template, 'JobsRole'))).toEqual(sorted(needed, GLUE));
  });

  test('in a network of its own, what Glue needs for that as well', () => {
    expect(actionsIn(statementsOf(vpc, 'JobsRole'))).toEqual(sorted(needed, GLUE, GLUE_IN_VPC));
  });

  test('is what docs/spark.md tells', () => {
    const [, section = ''] =
      /### What a job does on AWS\n(.*?)\n#/s.exec(readFileSync(path.join(PROJECT, 'docs/spark.md'), 'utf8')) ?? [];
    const told = [...section.matchAll(/\| [^|]+ \| ([^|]+) \|/g)].flatMap(([, cell = '']) =>
      [...cell.matchAll(/`(\w+:\w+)`/g)].map(([, action = '']) => action),
    );
    expect(sorted(told)).toEqual(needed);
  });
});

describe('any role', () => {
  const roles = template.ofType('AWS::IAM::Role').map(([id]) => id);

  test.each(roles)('%s is assumed by one service, and holds policies of this template only', (id) => {
    const { AssumeRolePolicyDocument, ManagedPolicyArns } = template.properties(id);
    expect(ManagedPolicyArns).toBeUndefined();
    const [statement, ...others] = list(object(AssumeRolePolicyDocument)['Statement']);
    expect(others).toEqual([]);
    expect(text(object(object(statement)['Principal'])['Service'] ?? '')).toMatch(/^(lambda|glue|states)\.amazonaws\.com$/);
  });

  test.each(roles)('%s names resources wherever AWS knows some', (id) => {
    const anywhere = statementsOf(vpc, id).filter(({ resources }) => resources.includes('*'));
    expect(sorted(anywhere.flatMap(({ actions }) => actions)).filter((action) => !WITHOUT_RESOURCES.test(action))).toEqual([]);
  });

  test.each(roles)('%s reads and writes objects below prefixes', (id) => {
    const objects = statementsOf(template, id).filter(({ actions }) =>
      actions.some((action) => /^s3:(Get|Put|Delete|Abort)/.test(action)),
    );
    for (const resource of objects.flatMap(({ resources }) => resources))
      expect(resource).toMatch(/^arn:aws:s3:::[^/*]+\/[a-z_]+\/.*\*$/);
  });
});

/** Actions for which AWS has no resources (https://docs.aws.amazon.com/service-authorization/latest/reference/). */
const WITHOUT_RESOURCES =
  /^(xray:\w+|cloudwatch:PutMetricData|ec2:Describe\w+|logs:(\w+LogDelivery|ListLogDeliveries|PutResourcePolicy|DescribeResourcePolicies|DescribeLogGroups))$/;

test('metrics go into the namespace of Glue only', () => {
  const [statement] = statementsOf(template, 'JobsRole').filter(({ actions }) => actions.includes('cloudwatch:PutMetricData'));
  expect(statement?.condition).toEqual({ StringEquals: { 'cloudwatch:namespace': 'Glue' } });
});

const LANDING = 'arn:aws:s3:::stedi-dev-landing-123456789012-us-east-1';
const LAKE = 'arn:aws:s3:::stedi-dev-lake-123456789012-us-east-1';
const GLUE_ARN = 'arn:aws:glue:us-east-1:123456789012';
const WORKGROUPS = 'arn:aws:athena:us-east-1:123456789012:workgroup';

describe('a job', () => {
  const statements = statementsOf(template, 'JobsRole');

  test('deletes files of tables and nothing else', () => {
    const may = allows(statements);
    expect(may('s3:DeleteObject', `${LAKE}/warehouse/stedi_dev.db/rejected/data/a.parquet`)).toBe(true);
    expect(may('s3:DeleteObject', `${LAKE}/runs/run-1/manifest.json`)).toBe(false);
    expect(may('s3:DeleteObject', `${LANDING}/customer_landing/a.json`)).toBe(false);
  });

  test('knows one item of the ledger, the run lock', () => {
    const own = statements.filter(({ actions }) => actions.some((action) => action.startsWith('dynamodb:')));
    expect(own.map(({ condition }) => condition)).toEqual([
      { 'ForAllValues:StringEquals': { 'dynamodb:LeadingKeys': ['lock'] } },
    ]);
  });
});

describe.each([
  ['CustomerProducerPolicy', ['customer_landing']],
  ['ReadingsProducerPolicy', ['accelerometer_landing', 'step_trainer_landing']],
])('a producer with %s', (policy, tables) => {
  const may = allows(statementsOf(template, policy));

  test('puts files into the prefixes of its tables alone', () => {
    expect(LANDING_TABLES.filter((table) => may('s3:PutObject', `${LANDING}/${table}/2024/a.json`))).toEqual(tables);
  });

  test.each([
    ['s3:PutObject', `${LANDING}/elsewhere/a.json`],
    ['s3:PutObject', `${LAKE}/warehouse/a.parquet`],
    ['s3:ListBucket', LANDING],
  ])('may not %s on %s', (action, resource) => {
    expect(may(action, resource)).toBe(false);
  });

  test.each(['s3:GetObject', 's3:DeleteObject', 's3:PutObjectAcl'])('may not %s in any landing prefix', (action) => {
    expect(LANDING_TABLES.filter((table) => may(action, `${LANDING}/${table}/a.json`))).toEqual([]);
  });
});

describe('a data scientist', () => {
  const may = allows(statementsOf(template, 'DataScientistPolicy'));
  const database = `${LAKE}/warehouse/stedi_dev.db`;

  test.each([
    ['athena:StartQueryExecution', `${WORKGROUPS}/stedi-dev-data-scientists`],
    ['athena:GetQueryResults', `${WORKGROUPS}/stedi-dev-data-scientists`],
    ['glue:GetTable', `${GLUE_ARN}:table/stedi_dev/machine_learning_curated`],
    ['glue:GetDatabase', `${GLUE_ARN}:database/stedi_dev`],
    ['glue:GetDatabase', `${GLUE_ARN}:database/default`],
    ['s3:GetObject', `${database}/machine_learning_curated/data/a.parquet`],
    ['s3:GetObject', `${database}/machine_learning_curated/metadata/v1.json`],
    ['s3:PutObject', `${LAKE}/athena/stedi-dev-data-scientists/a.csv`],
    ['s3:GetObject', `${LAKE}/athena/stedi-dev-data-scientists/a.csv`],
  ])('may %s on %s', (action, resource) => {
    expect(may(action, resource)).toBe(true);
  });

  const others = [
    'customer_trusted',
    'customer_staging',
    'accelerometer_trusted',
    'step_trainer_trusted',
    'customers_curated',
    'rejected',
  ];
  test.each([
    ...others.map((table) => ['s3:GetObject', `${database}/${table}/data/a.parquet`] as const),
    ...others.map((table) => ['glue:GetTable', `${GLUE_ARN}:table/stedi_dev/${table}`] as const),
    ['s3:GetObject', `${database}/machine_learning_curated_too/data/a.parquet`],
    ['s3:GetObject', `${LANDING}/customer_landing/a.json`],
    ['s3:GetObject', `${LAKE}/runs/run-1/rejects/a.json`],
    ['s3:GetObject', `${LAKE}/athena/stedi-dev-operators/a.csv`],
    ['s3:PutObject', `${database}/machine_learning_curated/data/a.parquet`],
    ['s3:DeleteObject', `${database}/machine_learning_curated/data/a.parquet`],
    ['athena:StartQueryExecution', `${WORKGROUPS}/stedi-dev-operators`],
    ['athena:StartQueryExecution', `${WORKGROUPS}/primary`],
    ['glue:UpdateTable', `${GLUE_ARN}:table/stedi_dev/machine_learning_curated`],
    ['dynamodb:GetItem', 'arn:aws:dynamodb:us-east-1:123456789012:table/stedi-dev-ledger'],
  ] as const)('may not %s on %s', (action, resource) => {
    expect(may(action, resource)).toBe(false);
  });

  test('the one table has no column about a person', () => {
    const contract: unknown = JSON.parse(readFileSync(path.join(PROJECT, 'glue/tables/machine_learning_curated.json'), 'utf8'));
    expect(JSON.stringify(contract)).not.toMatch(/email|customername|phone|birthday/);
  });

  test('lists that table and its own results only', () => {
    const [statement] = statementsOf(template, 'DataScientistPolicy').filter(({ actions }) => actions.includes('s3:ListBucket'));
    const condition = statement?.condition ?? {};
    const like = isObject(condition['StringLike']) ? condition['StringLike'] : {};
    expect(like['s3:prefix']).toEqual([
      'warehouse/stedi_dev.db/machine_learning_curated/*',
      'athena/stedi-dev-data-scientists/*',
    ]);
  });
});
