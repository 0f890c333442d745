import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { GlueClient } from '@aws-sdk/client-glue';
import { S3Client } from '@aws-sdk/client-s3';
import { SNSClient } from '@aws-sdk/client-sns';
import { report } from '../../report.ts';
import { TopicAlerts } from '../alerts.ts';
import { CLIENT, S3_CLIENT } from '../clients.ts';
import { environment } from '../environment.ts';
import { VisibleLake } from '../lake.ts';
import { DynamoLedger } from '../ledger.ts';
import { log } from '../log.ts';
import { BucketRunFiles } from '../runFiles.ts';

const { LAKE_BUCKET, LEDGER_TABLE, DATABASE, TOPIC_ARN } = environment
  .pick({ LAKE_BUCKET: true, LEDGER_TABLE: true, DATABASE: true, TOPIC_ARN: true })
  .parse(process.env);
const now = () => new Date();
const s3 = new S3Client(S3_CLIENT);
const runFiles = new BucketRunFiles(s3, LAKE_BUCKET);

export const handler = report({
  ledger: new DynamoLedger(new DynamoDBClient(CLIENT), LEDGER_TABLE, now),
  lake: new VisibleLake(new GlueClient(CLIENT), s3, DATABASE, runFiles),
  runFiles,
  alerts: new TopicAlerts(new SNSClient(CLIENT), TOPIC_ARN),
  log,
  now,
});
