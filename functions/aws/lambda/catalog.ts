import { randomBytes } from 'node:crypto';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { GlueClient } from '@aws-sdk/client-glue';
import { S3Client } from '@aws-sdk/client-s3';
import { SFNClient } from '@aws-sdk/client-sfn';
import { catalog } from '../../catalog.ts';
import { runIdOf } from '../../core/runId.ts';
import { CLIENT, S3_CLIENT } from '../clients.ts';
import { environment } from '../environment.ts';
import { StateMachineExecutions } from '../executions.ts';
import { LandedFiles } from '../landing.ts';
import { GlueLandingTables } from '../landingTables.ts';
import { DynamoLedger } from '../ledger.ts';
import { log } from '../log.ts';

const { LANDING_BUCKET, LEDGER_TABLE, DATABASE, STATE_MACHINE_ARN } = environment
  .pick({ LANDING_BUCKET: true, LEDGER_TABLE: true, DATABASE: true, STATE_MACHINE_ARN: true })
  .parse(process.env);
const now = () => new Date();

export const handler = catalog({
  ledger: new DynamoLedger(new DynamoDBClient(CLIENT), LEDGER_TABLE, now),
  landing: new LandedFiles(new S3Client(S3_CLIENT), LANDING_BUCKET),
  landingTables: new GlueLandingTables(new GlueClient(CLIENT), DATABASE, LANDING_BUCKET),
  executions: new StateMachineExecutions(new SFNClient(CLIENT), STATE_MACHINE_ARN),
  newRunId: () => runIdOf(now(), randomBytes(3).toString('hex')),
  log,
});
