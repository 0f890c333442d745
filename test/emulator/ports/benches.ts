import { CreateTableCommand, DynamoDBClient } from '@aws-sdk/client-dynamodb';
import {
  CreateDatabaseCommand,
  CreateJobCommand,
  GetTableCommand,
  EntityNotFoundException,
  GlueClient,
} from '@aws-sdk/client-glue';
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { CreateStateMachineCommand, SendTaskFailureCommand, SendTaskSuccessCommand, SFNClient } from '@aws-sdk/client-sfn';
import { CreateQueueCommand, DeleteMessageCommand, ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { z } from 'zod';
import { StoppableExecutions } from '../../../functions/aws/executions.ts';
import { JobRuns } from '../../../functions/aws/jobRuns.ts';
import { BucketLanding } from '../../../functions/aws/landing.ts';
import { GlueLandingTables } from '../../../functions/aws/landingTables.ts';
import { DynamoLedger } from '../../../functions/aws/ledger.ts';
import { BucketRunFiles } from '../../../functions/aws/runFiles.ts';
import { landingContractOf } from '../../../functions/core/contracts.ts';
import { JOB_STEPS } from '../../../functions/core/steps.ts';
import type { LandingTable } from '../../../functions/core/steps.ts';
import type { ExecutionsBench, LandingTablesBench } from '../../contract/others.ts';
import type { VersionedLandingBench } from '../../contract/versionedLanding.ts';
import { startEmulator } from '../../support/emulator.ts';
import type { Emulator, EmulatorOptions } from '../../support/emulator.ts';
import { setTimeout as wait } from 'node:timers/promises';

let made = 0;

/** A name that nothing on the emulator has yet. */
export function newName(what: string): string {
  made += 1;
  return `${what}-${made}`;
}

/** The emulator of one file's tests. */
export function emulatorOfTests(options: EmulatorOptions = {}): () => Emulator {
  let emulator: Emulator | null = null;
  beforeAll(async () => {
    emulator = await startEmulator(options);
  }, 300_000);
  afterAll(async () => emulator?.stop());
  return () => {
    if (emulator === null) throw new Error('the emulator is started before the tests, not while they are collected');
    return emulator;
  };
}

// Ledger

/** A table as the service has it. */
export async function newLedgerTable(emulator: Emulator, TableName = newName('ledger')): Promise<string> {
  await new DynamoDBClient(emulator.client).send(
    new CreateTableCommand({
      TableName,
      BillingMode: 'PAY_PER_REQUEST',
      AttributeDefinitions: ['pk', 'queue', 'position'].map((AttributeName) => ({ AttributeName, AttributeType: 'S' })),
      KeySchema: [{ AttributeName: 'pk', KeyType: 'HASH' }],
      GlobalSecondaryIndexes: [
        {
          IndexName: 'waiting',
          KeySchema: [
            { AttributeName: 'queue', KeyType: 'HASH' },
            { AttributeName: 'position', KeyType: 'RANGE' },
          ],
          Projection: { ProjectionType: 'KEYS_ONLY' },
        },
      ],
    }),
  );
  return TableName;
}

export async function newLedger(emulator: Emulator): Promise<DynamoLedger> {
  return new DynamoLedger(new DynamoDBClient(emulator.client), await newLedgerTable(emulator), () => new Date());
}

// Landing and run files

interface BucketLandingBench extends VersionedLandingBench {
  s3: S3Client;
  bucket: string;
  lakeBucket: string;
}

export function newS3Client(emulator: Emulator): S3Client {
  return new S3Client({ ...emulator.client, forcePathStyle: true });
}

export async function newBucket(s3: S3Client, what: string): Promise<string> {
  const Bucket = newName(what);
  await s3.send(new CreateBucketCommand({ Bucket }));
  return Bucket;
}

export async function newLanding(emulator: Emulator): Promise<BucketLandingBench & { landing: BucketLanding }> {
  const s3 = newS3Client(emulator);
  const [bucket, lakeBucket] = [await newBucket(s3, 'landing'), await newBucket(s3, 'lake')];
  await s3.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration: { Status: 'Enabled' } }));
  return {
    s3,
    bucket,
    lakeBucket,
    landing: new BucketLanding(s3, bucket, lakeBucket),
    put: async (key, content) =>
      void (await s3.send(
        new PutObjectCommand({ Bucket: bucket, Key: key, Body: content, ContentLength: Buffer.byteLength(content) }),
      )),
    remove: async (key) => void (await s3.send(new DeleteObjectCommand({ Bucket: bucket, Key: key }))),
    removeVersion: async (key, version) =>
      void (await s3.send(new DeleteObjectCommand({ Bucket: bucket, Key: key, VersionId: version }))),
    readInput: async (input) => {
      const { Body } = await s3.send(new GetObjectCommand({ Bucket: lakeBucket, Key: input }));
      return (await Body?.transformToString()) ?? '';
    },
  };
}

export async function newRunFiles(emulator: Emulator): Promise<BucketRunFiles> {
  const s3 = newS3Client(emulator);
  return new BucketRunFiles(s3, await newBucket(s3, 'lake'));
}

// Landing tables

export interface GlueTablesBench extends LandingTablesBench {
  glue: GlueClient;
  database: string;
}

export async function newLandingTables(emulator: Emulator): Promise<GlueTablesBench> {
  const glue = new GlueClient(emulator.client);
  const database = await newDatabase(glue);
  return {
    glue,
    database,
    landingTables: new GlueLandingTables(glue, database, 'landing'),
    extraColumns: async (table) => {
      const contract = new Set(landingContractOf(table).columns.map(({ name }) => name));
      return (await columnsOf(glue, database, table)).filter((name) => !contract.has(name));
    },
  };
}

export async function newDatabase(glue: GlueClient): Promise<string> {
  const Name = newName('stedi').replace('-', '_');
  await glue.send(new CreateDatabaseCommand({ DatabaseInput: { Name } }));
  return Name;
}

export async function columnsOf(glue: GlueClient, database: string, table: LandingTable): Promise<string[]> {
  try {
    const { Table } = await glue.send(new GetTableCommand({ DatabaseName: database, Name: table }));
    return (Table?.StorageDescriptor?.Columns ?? []).map(({ Name = '' }) => Name);
  } catch (error) {
    if (error instanceof EntityNotFoundException) return [];
    throw error;
  }
}

// Executions and jobs

/** Creates the six jobs of a stage; returns what their names begin with. */
export async function newJobs(glue: GlueClient): Promise<string> {
  const prefix = `${newName('stage')}-`;
  for (const step of JOB_STEPS) {
    await glue.send(
      new CreateJobCommand({
        Name: `${prefix}${step}`,
        Role: 'arn:aws:iam::000000000000:role/jobs',
        GlueVersion: '5.1',
        Command: { Name: 'glueetl', ScriptLocation: 's3://scripts/job.py', PythonVersion: '3' },
        DefaultArguments: { '--step': step },
      }),
    );
  }
  return prefix;
}

/** Hands each execution's name and task token to a queue, and waits for the outcome. */
export const WAITING = {
  StartAt: 'Told',
  States: {
    Told: {
      Type: 'Task',
      Resource: 'arn:aws:states:::sqs:sendMessage.waitForTaskToken',
      Parameters: {
        QueueUrl: 'QUEUE',
        MessageBody: { 'run.$': '$$.Execution.Name', 'token.$': '$$.Task.Token' },
      },
      End: true,
    },
  },
};
export const told = z.object({ run: z.string(), token: z.string() });

export async function newExecutions(
  emulator: Emulator,
): Promise<ExecutionsBench & { executions: StoppableExecutions; sfn: SFNClient; arn: string }> {
  const [sfn, sqs, glue] = [new SFNClient(emulator.client), new SQSClient(emulator.client), new GlueClient(emulator.client)];
  const name = newName('pipeline');
  const { QueueUrl = '' } = await sqs.send(new CreateQueueCommand({ QueueName: name }));
  const definition = JSON.stringify(WAITING).replace('QUEUE', QueueUrl);
  const { stateMachineArn = '' } = await sfn.send(
    new CreateStateMachineCommand({ name, definition, roleArn: 'arn:aws:iam::000000000000:role/pipeline' }),
  );
  const executions = new StoppableExecutions(sfn, stateMachineArn, new JobRuns(glue, await newJobs(glue), { pauseMs: 50 }));
  const executed: string[] = [];
  const tokens = new Map<string, string>();
  const receive = async (): Promise<boolean> => {
    const { Messages = [] } = await sqs.send(
      new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 1 }),
    );
    for (const { Body = '', ReceiptHandle } of Messages) {
      const { run, token } = told.parse(JSON.parse(Body));
      executed.push(run);
      tokens.set(run, token);
      await sqs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle }));
    }
    return Messages.length > 0;
  };
  const finish = async (failing: readonly string[] = []): Promise<void> => {
    for (let more = true; more;) more = await receive();
    for (const [run, taskToken] of tokens) {
      if (failing.includes(run)) await sfn.send(new SendTaskFailureCommand({ taskToken, error: 'Broken', cause: 'as told' }));
      else await sfn.send(new SendTaskSuccessCommand({ taskToken, output: '{}' }));
      while ((await executions.status(run)) === 'RUNNING') await wait(20);
    }
    tokens.clear();
  };
  return { executions, executed, finish, sfn, arn: stateMachineArn };
}
