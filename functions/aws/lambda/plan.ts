import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { GlueClient } from '@aws-sdk/client-glue';
import { S3Client } from '@aws-sdk/client-s3';
import settings from '../../../settings.json' with { type: 'json' };
import { parseSettings } from '../../core/settings.ts';
import { plan } from '../../plan.ts';
import { CLIENT, S3_CLIENT } from '../clients.ts';
import { environment } from '../environment.ts';
import { VisibleLake } from '../lake.ts';
import { BucketLanding } from '../landing.ts';
import { DynamoLedger } from '../ledger.ts';
import { log } from '../log.ts';
import { BucketRunFiles } from '../runFiles.ts';

const { LANDING_BUCKET, LAKE_BUCKET, LEDGER_TABLE, DATABASE, DEFINITION } = environment
  .pick({ LANDING_BUCKET: true, LAKE_BUCKET: true, LEDGER_TABLE: true, DATABASE: true, DEFINITION: true })
  .parse(process.env);
const now = () => new Date();
const s3 = new S3Client(S3_CLIENT);
const runFiles = new BucketRunFiles(s3, LAKE_BUCKET);

export const handler = plan(
  {
    ledger: new DynamoLedger(new DynamoDBClient(CLIENT), LEDGER_TABLE, now),
    landing: new BucketLanding(s3, LANDING_BUCKET, LAKE_BUCKET),
    lake: new VisibleLake(new GlueClient(CLIENT), s3, DATABASE, runFiles),
    runFiles,
    definition: DEFINITION,
    log,
    now,
  },
  parseSettings(settings, 'settings.json'),
);
