import {
  AttachUserPolicyCommand,
  CreateAccessKeyCommand,
  CreateUserCommand,
  IAMClient,
  ListRolesCommand,
} from '@aws-sdk/client-iam';
import { GlueClient, StartJobRunCommand } from '@aws-sdk/client-glue';
import { DeleteObjectCommand, GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts';
import { VisibleLake } from '../../functions/aws/lake.ts';
import { BucketRunFiles } from '../../functions/aws/runFiles.ts';
import { CONSENT, customer, walk } from '../support/people.ts';
import { Stage } from './stage.ts';

// The emulator enforces the roles of functions and jobs here.
let stage: Stage;
beforeAll(async () => {
  stage = await Stage.deploy({ rolesEnforced: true });
});
afterAll(async () => stage?.remove());

interface Keys {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
}

/** What a function or a job gets when it starts. */
async function keysOf(role: string): Promise<Keys> {
  const { Roles = [] } = await new IAMClient(stage.client).send(new ListRolesCommand({}));
  const [found] = Roles.filter(({ RoleName }) => RoleName?.includes(role));
  const { Credentials } = await new STSClient(stage.client).send(
    new AssumeRoleCommand({ RoleArn: found?.Arn, RoleSessionName: 'test' }),
  );
  if (
    Credentials?.AccessKeyId === undefined ||
    Credentials.SecretAccessKey === undefined ||
    Credentials.SessionToken === undefined
  )
    throw new Error(`no credentials for ${role}`);
  return {
    accessKeyId: Credentials.AccessKeyId,
    secretAccessKey: Credentials.SecretAccessKey,
    sessionToken: Credentials.SessionToken,
  };
}

function s3Of(credentials: Keys): S3Client {
  return new S3Client({ ...stage.client, credentials, forcePathStyle: true });
}

const DENIED = /AccessDenied/;

/** The name of the error that a call ends with. */
async function refusal(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'allowed',
    (error: unknown) => (error instanceof Error ? error.name : String(error)),
  );
}

test('the roles suffice for a whole run, with a process for each job, and for a withdrawal', async () => {
  stage.freshJobs(true);
  await stage.putAll(
    walk([
      { email: 'stays@example.test', shares: CONSENT },
      { email: 'leaves@example.test', shares: CONSENT },
    ]),
  );
  await stage.alert('SUCCEEDED');
  await stage.untilIdle();
  const lake = new VisibleLake(stage.glue, stage.s3, 'stedi_test', new BucketRunFiles(stage.s3, stage.bucketOf('lake')));
  expect(await lake.counts()).toEqual(stage.expectedCounts());
  stage.freshJobs(false);
  // A withdrawal also expires snapshots and deletes files.
  await stage.put('customer_landing/leaves.json', `${customer({ email: 'leaves@example.test', updated: CONSENT + 1 })}\n`);
  await stage.alert('SUCCEEDED');
  await stage.untilIdle();
  expect(await lake.counts()).toEqual(stage.expectedCounts());
});

test('the roles bind: what a function or a job has no business with is denied', async () => {
  const landed = { Bucket: stage.bucketOf('landing'), Key: 'customer_landing/people.json' };
  const run = { Bucket: stage.bucketOf('lake'), Key: 'runs/none/manifest.json' };
  const catalog = s3Of(await keysOf('CatalogRole'));
  await catalog.send(new GetObjectCommand(landed));
  expect(await refusal(catalog.send(new PutObjectCommand({ ...run, Body: '{}' })))).toMatch(DENIED);
  const jobs = s3Of(await keysOf('JobsRole'));
  await jobs.send(new GetObjectCommand(landed));
  expect(await refusal(jobs.send(new DeleteObjectCommand(landed)))).toMatch(DENIED);
  expect(await refusal(jobs.send(new PutObjectCommand({ ...landed, Body: '{}' })))).toMatch(DENIED);
  const glue = new GlueClient({ ...stage.client, credentials: await keysOf('ReportRole') });
  expect(await refusal(glue.send(new StartJobRunCommand({ JobName: 'stedi-test-publish' })))).toMatch(DENIED);
});

test('a producer of readings can put files into their landing prefixes, and nothing else', async () => {
  const iam = new IAMClient(stage.client);
  await iam.send(new CreateUserCommand({ UserName: 'device' }));
  await iam.send(
    new AttachUserPolicyCommand({
      UserName: 'device',
      PolicyArn: 'arn:aws:iam::000000000000:policy/stedi-test-readings-producer-us-east-1',
    }),
  );
  const { AccessKey } = await iam.send(new CreateAccessKeyCommand({ UserName: 'device' }));
  const producer = s3Of({ accessKeyId: AccessKey?.AccessKeyId ?? '', secretAccessKey: AccessKey?.SecretAccessKey ?? '' });
  const Bucket = stage.bucketOf('landing');
  await producer.send(new PutObjectCommand({ Bucket, Key: 'step_trainer_landing/empty.json', Body: '{}' }));
  for (const Key of ['elsewhere/a.json', 'customer_landing/a.json'])
    expect(await refusal(producer.send(new PutObjectCommand({ Bucket, Key, Body: '{}' })))).toMatch(DENIED);
  for (const Key of ['step_trainer_landing/empty.json', 'customer_landing/people.json'])
    expect(await refusal(producer.send(new GetObjectCommand({ Bucket, Key })))).toMatch(DENIED);
  expect(
    await refusal(
      producer.send(new PutObjectCommand({ Bucket: stage.bucketOf('lake'), Key: 'customer_landing/a.json', Body: '{}' })),
    ),
  ).toMatch(DENIED);
});
