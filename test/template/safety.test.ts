import { statementsIn } from './policies.ts';
import type { Statement } from './policies.ts';
import { isObject, list, object, Template, text, texts } from './template.ts';
import type { Json } from './template.ts';

const templates = { default: new Template('default'), vpc: new Template('vpc') };
const template = templates.default;

/** Every policy document of the template with its place: roles, buckets, queues, the topic, the key. */
function documents(of: Template): [place: string, statement: Statement][] {
  return of.resources.flatMap(([id]) => found(of.properties(id), id));
}

function found(value: Json, place: string): [string, Statement][] {
  if (Array.isArray(value)) return value.flatMap((each, at) => found(each, `${place}[${at}]`));
  if (!isObject(value)) return [];
  if ('Statement' in value) return statementsIn(value).map((statement, at) => [`${place}[${at}]`, statement] as const);
  return Object.entries(value).flatMap(([name, inner]) => found(inner, `${place}.${name}`));
}

describe.each(Object.entries(templates))('policies, variant %s', (_, each) => {
  const all = documents(each);
  const allowed = all.filter(([, { effect }]) => effect === 'Allow');

  test('allow no action by a wildcard', () => {
    expect(allowed.length).toBeGreaterThan(60);
    expect(allowed.filter(([, { actions }]) => actions.some((action) => action.includes('*')))).toEqual([]);
  });

  test('are open to nobody but named services and this account', () => {
    for (const [place, { principal }] of allowed) {
      const who = principal === undefined || typeof principal === 'string' ? principal : Object.values(principal).flatMap(texts);
      if (who === undefined) continue; // of a role or a managed policy: whoever holds it
      expect([place, who]).not.toEqual([place, '*']);
      for (const one of list(who)) expect(text(one)).toMatch(/^(\w+\.amazonaws\.com|arn:aws:iam::123456789012:root)$/);
    }
  });

  test('let a service in only for this account and its own resources', () => {
    const services = allowed.filter(
      ([place, { principal }]) => isObject(principal) && 'Service' in principal && !/^\w+Role\./.test(place),
    );
    expect(services.length).toBeGreaterThanOrEqual(4);
    for (const [place, { condition }] of services)
      expect([place, JSON.stringify(condition)]).toEqual([place, expect.stringMatching(/aws:Source(Arn|Account)/)]);
  });

  test('use no NotAction, NotResource or NotPrincipal', () => {
    expect(JSON.stringify(Object.values(each.all))).not.toMatch(/"Not(Action|Resource|Principal)"/);
  });
});

describe('buckets', () => {
  const buckets = template.ofType('AWS::S3::Bucket');
  const denials = documents(template).filter(([, { effect }]) => effect === 'Deny');

  test.each(buckets)('%s is private, encrypted and reached by TLS only', (id, properties) => {
    expect(properties['PublicAccessBlockConfiguration']).toEqual({
      BlockPublicAcls: true,
      BlockPublicPolicy: true,
      IgnorePublicAcls: true,
      RestrictPublicBuckets: true,
    });
    expect(JSON.stringify(properties['BucketEncryption'])).toMatch(/"SSEAlgorithm":"(AES256|aws:kms)"/);
    expect(properties).not.toHaveProperty('AccessControl');
    expect(properties).not.toHaveProperty('WebsiteConfiguration');
    const name = text(template.resolve({ Ref: id }) ?? '');
    const covering = denials.filter(([, { resources, principal, condition }]) => {
      const plain = JSON.stringify(condition) === JSON.stringify({ Bool: { 'aws:SecureTransport': false } });
      return (
        plain && principal === '*' && resources.includes(`arn:aws:s3:::${name}`) && resources.includes(`arn:aws:s3:::${name}/*`)
      );
    });
    expect(covering.flatMap(([, { actions }]) => actions)).toEqual(['s3:*']);
  });

  test.each(['LandingBucket', 'LakeBucket'])('%s belongs to the account whoever writes, and forgets broken uploads', (id) => {
    const { OwnershipControls, LifecycleConfiguration } = template.properties(id);
    expect(OwnershipControls).toEqual({ Rules: [{ ObjectOwnership: 'BucketOwnerEnforced' }] });
    expect(JSON.stringify(LifecycleConfiguration)).toContain('AbortIncompleteMultipartUpload');
  });

  test('landing is versioned and tells EventBridge; the lake is not versioned', () => {
    const landing = template.properties('LandingBucket');
    expect(landing['VersioningConfiguration']).toEqual({ Status: 'Enabled' });
    expect(landing['NotificationConfiguration']).toEqual({ EventBridgeConfiguration: { EventBridgeEnabled: true } });
    expect(template.properties('LakeBucket')).not.toHaveProperty('VersioningConfiguration');
  });

  test('landing files stay unless the settings say otherwise; nothing of the lake expires but query results and copies for a run', () => {
    const expires = (of: Template, id: string) =>
      list(object(of.properties(id)['LifecycleConfiguration'])['Rules']).flatMap((rule) => {
        const { Id, Prefix = '', TagFilters, ExpirationInDays } = object(rule);
        return ExpirationInDays === undefined ? [] : [[Id, TagFilters ?? Prefix, ExpirationInDays]];
      });
    const rulesOf = (id: string) => list(object(template.properties(id)['LifecycleConfiguration'])['Rules']);
    expect(rulesOf('LandingBucket')).toEqual([
      { Id: 'incomplete-uploads', Status: 'Enabled', AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 } },
      { Id: 'left-over-delete-markers', Status: 'Enabled', ExpiredObjectDeleteMarker: true },
      { Id: 'old-versions', Status: 'Enabled', NoncurrentVersionExpiration: { NoncurrentDays: '365' } },
    ]);
    for (const rule of rulesOf('LakeBucket')) expect(rule).toMatchObject({ Status: 'Enabled' });
    expect(expires(template, 'LandingBucket')).toEqual([]);
    expect(expires(templates.vpc, 'LandingBucket')).toEqual([['old-files', '', '400']]);
    expect(expires(template, 'LakeBucket')).toEqual([
      ['query-results', 'athena/', 7],
      ['run-input', [{ Key: 'kept', Value: 'for-a-run' }], 7],
    ]);
  });
});

test('what holds data outlives the stack', () => {
  const data = template.resources.filter(([, { Type }]) =>
    ['AWS::S3::Bucket', 'AWS::S3::BucketPolicy', 'AWS::DynamoDB::Table', 'AWS::Glue::Database'].includes(Type),
  );
  const kept = data.filter(
    ([, { DeletionPolicy, UpdateReplacePolicy }]) =>
      DeletionPolicy === 'RetainExceptOnCreate' && UpdateReplacePolicy === 'Retain',
  );
  expect(kept.map(([id]) => id).sort()).toEqual([
    'LakeBucket',
    'LakeBucketPolicy',
    'LakeDatabase',
    'LandingBucket',
    'LandingBucketPolicy',
    'LedgerTable',
  ]);
  expect(data.filter((each) => !kept.includes(each)).map(([id]) => id)).toEqual([
    'ServerlessDeploymentBucket',
    'ServerlessDeploymentBucketPolicy',
  ]);
});

test('the ledger is encrypted, on demand, and can be put back to any second', () => {
  expect(template.properties('LedgerTable')).toMatchObject({
    BillingMode: 'PAY_PER_REQUEST',
    SSESpecification: { SSEEnabled: true },
    PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
  });
});

test.each(template.ofType('AWS::SQS::Queue'))('queue %s is encrypted and keeps messages for two weeks', (_, properties) => {
  expect(properties).toMatchObject({ SqsManagedSseEnabled: true, MessageRetentionPeriod: 1209600 });
});

describe.each([
  ['AWS::SQS::Queue', 'Queues', 'sqs:*'],
  ['AWS::SNS::Topic', 'Topics', 'sns:Publish'],
])('%s', (type, named, action) => {
  const policies = template.ofType(`${type}Policy`);

  test.each(template.ofType(type))('%s is reached by TLS only', (id) => {
    const own = policies.filter(([, properties]) => list(properties[named]).includes(template.resolve({ Ref: id }) ?? ''));
    const denied = own
      .flatMap(([, { PolicyDocument }]) => statementsIn(object(PolicyDocument)))
      .filter(({ effect }) => effect === 'Deny');
    expect(denied).toEqual([
      {
        effect: 'Deny',
        actions: [action],
        resources: [template.resolve({ 'Fn::GetAtt': [id, 'Arn'] })],
        principal: '*',
        condition: { Bool: { 'aws:SecureTransport': false } },
      },
    ]);
  });
});

test('topics are encrypted with a key that alarms may use', () => {
  const topics = template.ofType('AWS::SNS::Topic');
  expect(topics.map(([, { KmsMasterKeyId }]) => KmsMasterKeyId)).toEqual(['AlertsKey.Arn', 'AlertsKey.Arn']);
  const key = statementsIn(object(template.properties('AlertsKey')['KeyPolicy']));
  const alarms = key.filter(({ principal }) => isObject(principal) && principal['Service'] === 'cloudwatch.amazonaws.com');
  expect(alarms.flatMap(({ actions }) => actions).sort()).toEqual(['kms:Decrypt', 'kms:GenerateDataKey']);
  expect(template.properties('AlertsKey')['EnableKeyRotation']).toBe(true);
});

test.each(template.ofType('AWS::Athena::WorkGroup'))('workgroup %s enforces, encrypts and caps', (_, properties) => {
  expect(properties['WorkGroupConfiguration']).toMatchObject({
    EnforceWorkGroupConfiguration: true,
    BytesScannedCutoffPerQuery: '100000000000',
    ResultConfiguration: {
      EncryptionConfiguration: { EncryptionOption: 'SSE_S3' },
      OutputLocation: `s3://stedi-dev-lake-123456789012-us-east-1/athena/${text(properties['Name'] ?? '')}/`,
    },
  });
});

test('every log group forgets, and every function and job has one', () => {
  const groups = template.ofType('AWS::Logs::LogGroup');
  for (const [id, { RetentionInDays }] of groups) expect([id, RetentionInDays]).toEqual([id, 30]);
  const names = groups.map(([, { LogGroupName }]) => LogGroupName);
  for (const [, { FunctionName }] of template.ofType('AWS::Lambda::Function'))
    expect(names).toContain(`/aws/lambda/${text(FunctionName ?? '')}`);
  for (const [, { DefaultArguments }] of template.ofType('AWS::Glue::Job')) {
    const prefix = text(object(DefaultArguments)['--custom-logGroup-prefix'] ?? '');
    expect(names).toEqual(expect.arrayContaining([`${prefix}/output`, `${prefix}/error`]));
  }
});

test('executions are logged without the data that they carry, and traced', () => {
  const { LoggingConfiguration, TracingConfiguration } = template.properties('PipelineStateMachine');
  expect(LoggingConfiguration).toMatchObject({ Level: 'ALL', IncludeExecutionData: false });
  expect(TracingConfiguration).toEqual({ Enabled: true });
});

describe('the network', () => {
  const { vpc } = templates;

  test('is not there unless the settings ask for it', () => {
    expect(
      template.resources.filter(([, { Type }]) => Type.startsWith('AWS::EC2::') || Type === 'AWS::Glue::Connection'),
    ).toEqual([]);
    for (const [, job] of template.ofType('AWS::Glue::Job')) expect(job).not.toHaveProperty('Connections');
  });

  test('has no way to the internet and lets nobody in', () => {
    const types = vpc.resources.map(([, { Type }]) => Type);
    for (const open of ['AWS::EC2::InternetGateway', 'AWS::EC2::NatGateway', 'AWS::EC2::Route', 'AWS::EC2::EIP'])
      expect(types).not.toContain(open);
    for (const [, { MapPublicIpOnLaunch }] of vpc.ofType('AWS::EC2::Subnet')) expect(MapPublicIpOnLaunch).toBe(false);
    const inward = [
      ...vpc.ofType('AWS::EC2::SecurityGroup').flatMap(([, { SecurityGroupIngress }]) => list(SecurityGroupIngress)),
      ...vpc.ofType('AWS::EC2::SecurityGroupIngress').map(([, properties]) => properties),
    ];
    expect(inward).toHaveLength(2);
    for (const rule of inward) expect(object(rule)).not.toHaveProperty('CidrIp');
    // Workers reach each other on any port, and AWS over TLS.
    const ports = (rules: readonly Json[]) => rules.map((rule) => [object(rule)['FromPort'], object(rule)['ToPort']]);
    expect(ports(inward)).toEqual([
      [443, 443],
      [0, 65_535],
    ]);
    const outward = [
      ...vpc.ofType('AWS::EC2::SecurityGroup').flatMap(([, { SecurityGroupEgress = [] }]) => list(SecurityGroupEgress)),
      ...vpc.ofType('AWS::EC2::SecurityGroupEgress').map(([, properties]) => properties),
    ];
    expect(ports(outward)).toEqual([
      [443, 443],
      [0, 65_535],
    ]);
  });

  test('reaches what the jobs call, in both subnets', () => {
    const endpoints = vpc.ofType('AWS::EC2::VPCEndpoint').map(([, properties]) => properties);
    const services = (type: string) =>
      endpoints
        .filter((each) => each['VpcEndpointType'] === type)
        .map((each) => text(each['ServiceName'] ?? '').replace(/^.*\./, ''))
        .sort();
    expect(services('Gateway')).toEqual(['dynamodb', 's3']);
    expect(services('Interface')).toEqual(['glue', 'logs', 'monitoring', 'sts']);
    for (const { VpcEndpointType, SubnetIds, PrivateDnsEnabled } of endpoints) {
      if (VpcEndpointType === 'Interface')
        expect([SubnetIds, PrivateDnsEnabled]).toEqual([['FirstSubnet', 'SecondSubnet'], true]);
    }
  });

  test('is where every job runs', () => {
    const connections = vpc.ofType('AWS::Glue::Connection').map(([, { ConnectionInput }]) => object(ConnectionInput)['Name']);
    for (const [, { Connections }] of vpc.ofType('AWS::Glue::Job'))
      expect(object(Connections)['Connections']).toEqual(connections);
  });
});
