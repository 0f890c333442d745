import { setTimeout as wait } from 'node:timers/promises';
import { CreateWorkGroupCommand, AthenaClient } from '@aws-sdk/client-athena';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import {
  CreateDatabaseCommand,
  CreateTableCommand,
  DeleteTableCommand,
  EntityNotFoundException,
  GlueClient,
} from '@aws-sdk/client-glue';
import { CreateBucketCommand, PutBucketVersioningCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import type { S3Client } from '@aws-sdk/client-s3';
import { CreateStateMachineCommand, SendTaskFailureCommand, SendTaskSuccessCommand, SFNClient } from '@aws-sdk/client-sfn';
import { CreateQueueCommand, DeleteMessageCommand, ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { StateMachineExecutions } from '../../../functions/aws/executions.ts';
import { VisibleLake } from '../../../functions/aws/lake.ts';
import { BucketLanding } from '../../../functions/aws/landing.ts';
import { GlueLandingTables } from '../../../functions/aws/landingTables.ts';
import { DynamoLedger } from '../../../functions/aws/ledger.ts';
import { BucketRunFiles } from '../../../functions/aws/runFiles.ts';
import { catalog } from '../../../functions/catalog.ts';
import { planRun } from '../../../functions/core/planRun.ts';
import { auditsSchema, manifestSchema, readRunFile, stepMetricsSchema, writeRunFile } from '../../../functions/core/runFiles.ts';
import { settingsSchema } from '../../../functions/core/settings.ts';
import { PUBLISHED_TABLES } from '../../../functions/core/steps.ts';
import type { Ports } from '../../../functions/ports.ts';
import { reconcile } from '../../../functions/reconcile.ts';
import { report } from '../../../functions/report.ts';
import { validate } from '../../../functions/validate.ts';
import { objectCreated, sqsBatch, statusChanged } from '../../../local/awsEvents.ts';
import { lambdaContext } from '../../../local/lambdaContext.ts';
import { ACCOUNT, REGION } from '../../support/emulator.ts';
import type { Emulator } from '../../support/emulator.ts';
import { goodEvidence } from '../../support/evidence.ts';
import { newLedgerTable, newS3Client, told, WAITING } from './benches.ts';

/**
 * A stage with the names that `serverless deploy` gives, but not deployed: this process plays the functions and the jobs. What the jobs
 * would count is goodEvidence, whatever the files hold. `fails` names a run's error, and then nothing is published.
 */
export class PlayedStage {
  readonly ports: Ports;
  readonly s3: S3Client;
  readonly landingBucket: string;
  readonly lakeBucket: string;
  fails: string | null = null;
  readonly #glue: GlueClient;
  readonly #sfn: SFNClient;
  readonly #sqs: SQSClient;
  readonly #database: string;
  readonly #queue: string;
  #playing: Promise<void> | null = null;
  #ended = false;
  #runs = 0;

  private constructor(emulator: Emulator, stage: string, queue: string, stateMachineArn: string) {
    const prefix = `stedi-${stage}`;
    this.s3 = newS3Client(emulator);
    this.#glue = new GlueClient(emulator.client);
    this.#sfn = new SFNClient(emulator.client);
    this.#sqs = new SQSClient(emulator.client);
    this.#database = `stedi_${stage}`;
    this.#queue = queue;
    this.landingBucket = `${prefix}-landing-${ACCOUNT}-${REGION}`;
    this.lakeBucket = `${prefix}-lake-${ACCOUNT}-${REGION}`;
    const runFiles = new BucketRunFiles(this.s3, this.lakeBucket);
    const executions = new StateMachineExecutions(this.#sfn, stateMachineArn);
    const lake = new VisibleLake(this.#glue, this.s3, this.#database, runFiles);
    this.ports = {
      ledger: new DynamoLedger(new DynamoDBClient(emulator.client), `${prefix}-ledger`, () => new Date()),
      landing: new BucketLanding(this.s3, this.landingBucket, this.lakeBucket),
      landingTables: new GlueLandingTables(this.#glue, this.#database, this.landingBucket),
      runFiles,
      executions: {
        start: (runId) => executions.start(runId),
        status: (runId) => executions.status(runId),
        stopJobs: async () => undefined,
      },
      lake: {
        publishesAtOnce: false,
        publishedRun: () => lake.publishedRun(),
        counts: () => lake.counts(),
        resumePublish: async () => undefined,
      },
      alerts: { send: async () => undefined },
      definition: 'abc',
      log: () => undefined,
      now: () => new Date(),
      newRunId: () => `run-20260102-03040${(this.#runs += 1)}-played`,
    };
  }

  static async open(emulator: Emulator, stage: string): Promise<PlayedStage> {
    const prefix = `stedi-${stage}`;
    const { QueueUrl = '' } = await new SQSClient(emulator.client).send(new CreateQueueCommand({ QueueName: prefix }));
    const { stateMachineArn = '' } = await new SFNClient(emulator.client).send(
      new CreateStateMachineCommand({
        name: `${prefix}-pipeline`,
        definition: JSON.stringify(WAITING).replace('QUEUE', QueueUrl),
        roleArn: `arn:aws:iam::${ACCOUNT}:role/pipeline`,
      }),
    );
    const played = new PlayedStage(emulator, stage, QueueUrl, stateMachineArn);
    await newLedgerTable(emulator, `${prefix}-ledger`);
    for (const Bucket of [played.landingBucket, played.lakeBucket]) await played.s3.send(new CreateBucketCommand({ Bucket }));
    await played.s3.send(
      new PutBucketVersioningCommand({ Bucket: played.landingBucket, VersioningConfiguration: { Status: 'Enabled' } }),
    );
    await played.#glue.send(new CreateDatabaseCommand({ DatabaseInput: { Name: played.#database } }));
    await new AthenaClient(emulator.client).send(
      new CreateWorkGroupCommand({
        Name: `${prefix}-operators`,
        Configuration: { ResultConfiguration: { OutputLocation: `s3://${played.lakeBucket}/athena/` } },
      }),
    );
    return played;
  }

  /** Plays until `close`, once this many files have landed. The pipeline lets files gather before it plans; this is sure to take them in one run. */
  play(files: number): void {
    this.#playing = (async () => {
      while (!this.#ended && (await this.#landed()) < files) await wait(50);
      while (!this.#ended) {
        await this.#events();
        await this.#executions();
        await wait(50);
      }
    })();
  }

  async close(): Promise<void> {
    this.#ended = true;
    await this.#playing;
  }

  async #landed(): Promise<number> {
    let files = 0;
    for await (const page of this.ports.landing.list()) files += page.length;
    return files;
  }

  async #events(): Promise<void> {
    for await (const page of this.ports.landing.list()) {
      const unknown = await this.ports.ledger.unknown(page);
      if (unknown.length > 0) await catalog(this.ports)(sqsBatch(unknown.map(objectCreated)), lambdaContext('catalog'));
    }
  }

  async #executions(): Promise<void> {
    const { Messages = [] } = await this.#sqs.send(new ReceiveMessageCommand({ QueueUrl: this.#queue, WaitTimeSeconds: 0 }));
    for (const { Body = '', ReceiptHandle } of Messages) {
      await this.#sqs.send(new DeleteMessageCommand({ QueueUrl: this.#queue, ReceiptHandle }));
      const { run, token: taskToken } = told.parse(JSON.parse(Body));
      const error = await this.#run(run);
      if (error === null) await this.#sfn.send(new SendTaskSuccessCommand({ taskToken, output: '{}' }));
      else
        await this.#sfn.send(
          new SendTaskFailureCommand({ taskToken, error: 'GateFailedError', cause: JSON.stringify({ errorMessage: error }) }),
        );
      while ((await this.ports.executions.status(run)) === 'RUNNING') await wait(20);
      await reconcile(this.ports)(statusChanged(run, error === null ? 'SUCCEEDED' : 'FAILED'), lambdaContext('reconcile'));
    }
  }

  /** What the states of the pipeline do; returns the error that it ends with. */
  async #run(runId: string): Promise<string | null> {
    const settings = settingsSchema.parse({});
    const { status } = await planRun(this.ports, settings, runId);
    if (status === 'NOTHING_TO_DO') return null;
    await this.#work(runId);
    if (this.fails !== null) {
      await report(this.ports)({ runId, error: { Error: 'Broken', Cause: this.fails } }, lambdaContext('report'));
      return this.fails;
    }
    await validate(this.ports, settings)({ runId }, lambdaContext('validate'));
    await this.#publish(runId);
    await report(this.ports)({ runId }, lambdaContext('report'));
    return null;
  }

  async #work(runId: string): Promise<void> {
    const { runFiles } = this.ports;
    const manifest = await readRunFile(runFiles, runId, 'manifest.json', manifestSchema);
    const { steps, audits } = goodEvidence();
    for (const step of steps) {
      const files = step.staging?.files.flatMap((load) => {
        const claimed = manifest?.files.find(({ key }) => key === load.key);
        return claimed === undefined ? [] : [{ ...load, version: claimed.version }];
      });
      const staging = step.staging === undefined || files === undefined ? {} : { staging: { ...step.staging, files } };
      await writeRunFile(runFiles, runId, `metrics/${step.step}.json`, stepMetricsSchema, { ...step, ...staging, runId });
    }
    if (audits === null) throw new Error('the evidence has audits');
    await writeRunFile(runFiles, runId, 'metrics/audits.json', auditsSchema, { ...audits, runId });
  }

  /** Puts in place metadata of Iceberg tables whose `main` this run made. */
  async #publish(runId: string): Promise<void> {
    const audits = await readRunFile(this.ports.runFiles, runId, 'metrics/audits.json', auditsSchema);
    for (const table of PUBLISHED_TABLES) {
      const Key = `warehouse/${table}/metadata/${runId}.metadata.json`;
      const summary = { 'run-id': runId, 'total-records': String(audits?.counts[table] ?? 0) };
      const metadata = { refs: { main: { 'snapshot-id': 1 } }, snapshots: [{ 'snapshot-id': 1, summary }] };
      await this.s3.send(new PutObjectCommand({ Bucket: this.lakeBucket, Key, Body: JSON.stringify(metadata) }));
      const named = { DatabaseName: this.#database, Name: table };
      await this.#glue.send(new DeleteTableCommand(named)).catch((error: unknown) => {
        if (!(error instanceof EntityNotFoundException)) throw error;
      });
      const Parameters = { metadata_location: `s3://${this.lakeBucket}/${Key}` };
      await this.#glue.send(new CreateTableCommand({ DatabaseName: this.#database, TableInput: { Name: table, Parameters } }));
    }
  }
}
