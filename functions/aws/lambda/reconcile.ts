import { randomBytes } from 'node:crypto';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { GlueClient } from '@aws-sdk/client-glue';
import { S3Client } from '@aws-sdk/client-s3';
import { SFNClient } from '@aws-sdk/client-sfn';
import { SNSClient } from '@aws-sdk/client-sns';
import { runIdOf } from '../../core/runId.ts';
import { reconcile } from '../../reconcile.ts';
import { TopicAlerts } from '../alerts.ts';
import { CLIENT, S3_CLIENT } from '../clients.ts';
import { environment } from '../environment.ts';
import { StoppableExecutions } from '../executions.ts';
import { JobRuns } from '../jobRuns.ts';
import { GlueLake } from '../lake.ts';
import { BucketLanding } from '../landing.ts';
import { GlueLandingTables } from '../landingTables.ts';
import { DynamoLedger } from '../ledger.ts';
import { log } from '../log.ts';
import { BucketRunFiles } from '../runFiles.ts';

const { LANDING_BUCKET, LAKE_BUCKET, LEDGER_TABLE, DATABASE, STATE_MACHINE_ARN, JOB_PREFIX, TOPIC_ARN, DEFINITION } =
  environment.parse(process.env);
const now = () => new Date();
const s3 = new S3Client(S3_CLIENT);
const glue = new GlueClient(CLIENT);
const runFiles = new BucketRunFiles(s3, LAKE_BUCKET);
const jobRuns = new JobRuns(glue, JOB_PREFIX, { log });

export const handler = reconcile({
  ledger: new DynamoLedger(new DynamoDBClient(CLIENT), LEDGER_TABLE, now),
  landing: new BucketLanding(s3, LANDING_BUCKET, LAKE_BUCKET),
  landingTables: new GlueLandingTables(glue, DATABASE, LANDING_BUCKET),
  runFiles,
  executions: new StoppableExecutions(new SFNClient(CLIENT), STATE_MACHINE_ARN, jobRuns),
  lake: new GlueLake(glue, s3, DATABASE, runFiles, jobRuns),
  alerts: new TopicAlerts(new SNSClient(CLIENT), TOPIC_ARN),
  definition: DEFINITION,
  log,
  now,
  newRunId: () => runIdOf(now(), randomBytes(3).toString('hex')),
});
