import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { DisableRuleCommand, EnableRuleCommand, EventBridgeClient, ListRulesCommand } from '@aws-sdk/client-eventbridge';
import { GetJobRunCommand, GlueClient, StartJobRunCommand } from '@aws-sdk/client-glue';
import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import {
  DescribeExecutionCommand,
  ListExecutionsCommand,
  SFNClient,
  StartExecutionCommand,
  StopExecutionCommand,
} from '@aws-sdk/client-sfn';
import { SNSClient, SubscribeCommand } from '@aws-sdk/client-sns';
import { CreateQueueCommand, DeleteMessageCommand, ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { z } from 'zod';
import { executionArnOf } from '../../functions/aws/executions.ts';
import { DynamoLedger } from '../../functions/aws/ledger.ts';
import { landingTableOf } from '../../functions/core/catalogFile.ts';
import { PUBLISHED_TABLES } from '../../functions/core/steps.ts';
import type { JobStep, PublishedTable } from '../../functions/core/steps.ts';
import type { LedgerFile } from '../../functions/ports.ts';
import { ReferenceLake } from '../reference/index.ts';
import type { LandedFile } from '../reference/index.ts';
import { collected } from '../support/collected.ts';
import { ACCOUNT, REGION, startEmulator } from '../support/emulator.ts';
import type { Emulator } from '../support/emulator.ts';
import { until } from '../support/lake.ts';
import { PROJECT, projectSettings, serviceWith } from '../support/service.ts';

/** How long to wait for anything: enough for a run of six jobs that each start a JVM, while other tests have the processor. */
export const PATIENCE_SECONDS = 600;

/** How a job goes wrong; glue/faults.py does it. */
type Fault = { kind: 'fail' } | { kind: 'wait'; until: string; deaf?: boolean } | { kind: 'crash'; afterTables: number };

interface Alert {
  subject: string;
  text: string;
  status: string | undefined;
}

interface StageOptions {
  /** Whether the emulator enforces the roles of functions and jobs. */
  rolesEnforced?: boolean;
}

/** The service, deployed to an emulator of its own by `serverless deploy`, as its users and its operators see it. */
export class Stage {
  readonly landed: LandedFile[] = [];
  readonly #emulator: Emulator;
  readonly #folder: string;
  readonly #queues = new Map<string, string>();
  readonly s3: S3Client;
  readonly sfn: SFNClient;
  readonly glue: GlueClient;
  readonly #sqs: SQSClient;
  readonly #lambda: LambdaClient;
  readonly #events: EventBridgeClient;
  readonly ledger: DynamoLedger;

  private constructor(emulator: Emulator, folder: string) {
    this.#emulator = emulator;
    this.#folder = folder;
    const { client } = emulator;
    this.s3 = new S3Client({ ...client, forcePathStyle: true });
    this.sfn = new SFNClient(client);
    this.glue = new GlueClient(client);
    this.#sqs = new SQSClient(client);
    this.#lambda = new LambdaClient(client);
    this.#events = new EventBridgeClient(client);
    this.ledger = new DynamoLedger(new DynamoDBClient(client), 'stedi-test-ledger', () => new Date());
  }

  static async deploy({ rolesEnforced = false }: StageOptions = {}): Promise<Stage> {
    const emulator = await startEmulator({
      rolesEnforced,
      glueRunner: ['python', path.join(PROJECT, 'test/emulator/glue/run_job.py')],
      environment: { STEDI_SPARK_JARS: path.join(PROJECT, '.cache/emulator/jars') },
    });
    const stage = new Stage(emulator, emulator.glueFolder);
    try {
      // From a folder of its own: two deployments from one folder would overwrite each other's package.
      await deploy(emulator, serviceWith(JSON.stringify(projectSettings()), path.join(emulator.glueFolder, 'service')));
      for (const status of ['SUCCEEDED', 'FAILED']) await stage.#subscribe(status);
    } catch (error) {
      await emulator.stop();
      throw error;
    }
    return stage;
  }

  async remove(): Promise<void> {
    await this.#emulator.stop();
  }

  get environment(): NodeJS.ProcessEnv {
    return this.#emulator.environment;
  }

  /** What an SDK client of the account's owner needs. */
  get client(): Emulator['client'] {
    return this.#emulator.client;
  }

  bucketOf(what: 'landing' | 'lake'): string {
    return `stedi-test-${what}-${ACCOUNT}-${REGION}`;
  }

  /** Puts a file into landing, as a producer does. */
  async put(key: string, content: string | Uint8Array): Promise<void> {
    const { VersionId } = await this.s3.send(new PutObjectCommand({ Bucket: this.bucketOf('landing'), Key: key, Body: content }));
    const table = landingTableOf(key);
    if (table === null || VersionId === undefined) throw new Error(`${key}: expected a landing key and a versioned bucket`);
    this.landed.push({ table, key, version: VersionId, bytes: typeof content === 'string' ? Buffer.from(content) : content });
  }

  async putAll(files: Readonly<Record<string, string | Uint8Array>>): Promise<void> {
    await Promise.all(Object.entries(files).map(([key, content]) => this.put(key, content)));
  }

  /** Puts every file of a folder that has a landing folder for each table. */
  async putFolder(folder: string): Promise<void> {
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const file = path.join(entry.parentPath, entry.name);
      await this.put(landingKeyOf(path.relative(folder, file)), readFileSync(file));
    }
  }

  /** The next alert of this status, received through a queue that is subscribed with a filter policy. */
  async alert(status: 'SUCCEEDED' | 'FAILED'): Promise<Alert> {
    const QueueUrl = this.#queues.get(status);
    const deadline = Date.now() + PATIENCE_SECONDS * 1000;
    while (Date.now() < deadline) {
      const { Messages } = await this.#sqs.send(
        new ReceiveMessageCommand({ QueueUrl, WaitTimeSeconds: 2, MaxNumberOfMessages: 1 }),
      );
      const [message] = Messages ?? [];
      if (message === undefined) continue;
      await this.#sqs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: message.ReceiptHandle }));
      const { Subject, Message, MessageAttributes } = notification.parse(JSON.parse(message.Body ?? ''));
      return { subject: Subject, text: Message, status: MessageAttributes['status']?.Value };
    }
    throw new Error(`no ${status} alert within ${PATIENCE_SECONDS} s\n${await this.#situation()}`);
  }

  /** Waits until no execution runs, nobody holds the lock and, unless they are to stay, no file is pending. */
  async untilIdle({ pendingStay = false } = {}): Promise<void> {
    let calm = 0; // an event may still be on its way
    await until(
      'the pipeline to come to rest',
      async () => {
        const busy =
          (await this.executions()).some(({ status }) => status === 'RUNNING') ||
          (await this.ledger.lock()) !== null ||
          (!pendingStay && (await this.ledger.pending(1)).length > 0);
        calm = busy ? 0 : calm + 1;
        return calm >= 4;
      },
      PATIENCE_SECONDS,
    ).catch(async (error: unknown) => {
      throw new Error(`${String(error)}\n${await this.#situation()}`);
    });
  }

  async executions(): Promise<{ name: string; arn: string; status: string }[]> {
    const { executions = [] } = await this.sfn.send(
      new ListExecutionsCommand({ stateMachineArn: this.#stateMachine, maxResults: 1000 }),
    );
    return executions.map(({ name = '', executionArn = '', status = '' }) => ({ name, arn: executionArn, status }));
  }

  async startByHand(name: string): Promise<string> {
    const { executionArn = '' } = await this.sfn.send(new StartExecutionCommand({ stateMachineArn: this.#stateMachine, name }));
    let status = 'RUNNING';
    await until(
      `${name} to end`,
      async () => {
        status = (await this.sfn.send(new DescribeExecutionCommand({ executionArn }))).status ?? '';
        return status !== 'RUNNING';
      },
      PATIENCE_SECONDS,
    );
    return status;
  }

  async abort(runId: string): Promise<void> {
    await this.sfn.send(new StopExecutionCommand({ executionArn: executionArnOf(this.#stateMachine, runId) }));
  }

  /** Whether each job has a process and a Spark of its own from now on, as on Glue. */
  freshJobs(fresh: boolean): void {
    const file = path.join(this.#folder, 'fresh');
    if (fresh) writeFileSync(file, '');
    else rmSync(file, { force: true });
  }

  /** Plans a fault for the next job of a step. */
  planFault(step: JobStep, fault: Fault): void {
    const folder = path.join(this.#folder, 'faults');
    mkdirSync(folder, { recursive: true });
    writeFileSync(path.join(folder, `${step}.json`), JSON.stringify(fault));
  }

  /** A file that a waiting job waits for, and the sign that it waits. */
  gate(name: string): { file: string; reached: () => Promise<void>; open: () => void } {
    const file = path.join(this.#folder, `${name}.open`);
    return {
      file,
      reached: async () =>
        until(`a job to wait for ${name}`, async () => existsSync(path.join(this.#folder, `${name}.waiting`)), PATIENCE_SECONDS),
      open: () => writeFileSync(file, ''),
    };
  }

  deafLog(): string {
    return readFileSync(path.join(this.#folder, 'deaf.log'), 'utf8');
  }

  /** Starts the job of a step with the arguments that a run gave it; returns how it ended. */
  async runJobAgain(step: JobStep, runId: string, fence: string): Promise<{ state: string; message: string }> {
    const JobName = `stedi-test-${step}`;
    const { JobRunId } = await this.glue.send(
      new StartJobRunCommand({ JobName, Arguments: { '--run_id': runId, '--fence': fence } }),
    );
    let found = { state: 'RUNNING', message: '' };
    await until(
      `${JobName} to end`,
      async () => {
        const { JobRun } = await this.glue.send(new GetJobRunCommand({ JobName, RunId: JobRunId }));
        found = { state: JobRun?.JobRunState ?? '', message: JobRun?.ErrorMessage ?? '' };
        return !['STARTING', 'RUNNING', 'STOPPING', 'WAITING'].includes(found.state);
      },
      PATIENCE_SECONDS,
    );
    return found;
  }

  /** Calls `reconcile` as the schedule does. */
  async reconcile(): Promise<void> {
    const Payload = JSON.stringify({ source: 'aws.events', 'detail-type': 'Scheduled Event', detail: {} });
    const { FunctionError, Payload: answer } = await this.#lambda.send(
      new InvokeCommand({ FunctionName: 'stedi-test-reconcile', Payload }),
    );
    if (FunctionError !== undefined) throw new Error(`reconcile: ${Buffer.from(answer ?? []).toString()}`);
  }

  /** Does something while the events of the landing bucket are lost. */
  async withoutEvents(act: () => Promise<void>): Promise<void> {
    const { Rules = [] } = await this.#events.send(new ListRulesCommand({}));
    const [rule] = Rules.filter(({ EventPattern }) => EventPattern?.includes('Object Created'));
    if (rule === undefined) throw new Error('no rule for object-created events');
    await this.#events.send(new DisableRuleCommand({ Name: rule.Name }));
    await act();
    await this.#events.send(new EnableRuleCommand({ Name: rule.Name }));
  }

  /** Rows of a query on what is published, by the Spark session that the jobs share. */
  async rows(sql: string): Promise<Record<string, unknown>[]> {
    const [socket] = readdirSync(this.#folder).filter((name) => name.endsWith('.sock'));
    if (socket === undefined) throw new Error('no job has run yet');
    const answer = await new Promise<string>((resolve, reject) => {
      const connection = connect(path.join(this.#folder, socket), () => connection.write(`${JSON.stringify({ sql })}\n`));
      let text = '';
      connection.on('data', (part) => (text += String(part)));
      connection.on('end', () => resolve(text)).on('error', reject);
    });
    const found = z
      .union([z.object({ rows: z.array(z.record(z.string(), z.unknown())) }), z.object({ error: z.string() })])
      .parse(JSON.parse(answer));
    if ('error' in found) throw new Error(`${sql}: ${found.error}`);
    return found.rows;
  }

  /** count(*) of every published table. */
  async counts(): Promise<Record<string, number>> {
    const parts = PUBLISHED_TABLES.map((table) => `(select count(*) from lake.stedi_test.${table}) as ${table}`);
    const [row] = await this.rows(`select ${parts.join(', ')}`);
    return z.record(z.string(), z.number()).parse(row);
  }

  /** What the tables must hold after everything that landed, by the naive reading of the rules. */
  expectedCounts(landed: readonly LandedFile[] = this.landed): Record<PublishedTable, number> {
    const lake = new ReferenceLake({ mlJoin: 'person-and-time', consentFrom: 'any-time' });
    lake.run([...landed], 'any');
    const tables = lake.tables();
    const counts = PUBLISHED_TABLES.map((table) => [table, tables[table].length] as const);
    return Object.fromEntries(counts) as Record<PublishedTable, number>;
  }

  async files(): Promise<LedgerFile[]> {
    return collected(this.ledger.files());
  }

  /** A file of a run's folder. */
  async runFile(runId: string, name: string): Promise<unknown> {
    const { Body } = await this.s3.send(new GetObjectCommand({ Bucket: this.bucketOf('lake'), Key: `runs/${runId}/${name}` }));
    return JSON.parse((await Body?.transformToString()) ?? 'null');
  }

  get #stateMachine(): string {
    return `arn:aws:states:${REGION}:${ACCOUNT}:stateMachine:stedi-test-pipeline`;
  }

  async #subscribe(status: string): Promise<void> {
    const Policy = JSON.stringify({
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Principal: { Service: 'sns.amazonaws.com' }, Action: 'sqs:SendMessage', Resource: '*' }],
    });
    const { QueueUrl = '' } = await this.#sqs.send(
      new CreateQueueCommand({ QueueName: `alerts-${status}`, Attributes: { Policy } }),
    );
    await new SNSClient(this.#emulator.client).send(
      new SubscribeCommand({
        TopicArn: `arn:aws:sns:${REGION}:${ACCOUNT}:stedi-test-alerts`,
        Protocol: 'sqs',
        Endpoint: `arn:aws:sqs:${REGION}:${ACCOUNT}:alerts-${status}`,
        Attributes: { FilterPolicy: JSON.stringify({ status: [status] }) },
      }),
    );
    this.#queues.set(status, QueueUrl);
  }

  async #situation(): Promise<string> {
    const waiting = (await this.files())
      .filter(({ state }) => state !== 'loaded')
      .map(({ key, state, why }) => `${key} ${state} ${why ?? ''}`);
    return JSON.stringify({ executions: await this.executions(), lock: await this.ledger.lock(), waiting }, null, 2);
  }
}

async function deploy(emulator: Emulator, service: string): Promise<void> {
  // The emulator does not know Athena's saved queries; a parameter of the template leaves them out.
  const words = ['serverless', 'deploy', '--stage', 'test', '--region', REGION, '--param', 'emulator=yes'];
  const environment = { ...process.env, ...emulator.environment, SLS_AWS_MONITORING_FREQUENCY: '200' };
  const { code, output } = await new Promise<{ code: number | null; output: string }>((resolve) => {
    const child = spawn('npx', words, { cwd: service, env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (output += String(part)));
    child.on('close', (code) => resolve({ code, output }));
  });
  if (code !== 0) throw new Error(`npx ${words.join(' ')} ended with ${code}:\n${output}`);
}

const notification = z.object({
  Subject: z.string(),
  Message: z.string(),
  MessageAttributes: z.record(z.string(), z.object({ Value: z.string() })),
});

/** The landing key of a reference file: its table by the first folder's name. */
function landingKeyOf(relative: string): string {
  const [word = ''] = relative.split(path.sep);
  const table = word.endsWith('_landing') ? word : `${word}_landing`;
  return `${table}/${path.basename(relative)}`;
}
