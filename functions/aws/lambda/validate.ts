import { S3Client } from '@aws-sdk/client-s3';
import settings from '../../../settings.json' with { type: 'json' };
import { parseSettings } from '../../core/settings.ts';
import { validate } from '../../validate.ts';
import { S3_CLIENT } from '../clients.ts';
import { environment } from '../environment.ts';
import { log } from '../log.ts';
import { BucketRunFiles } from '../runFiles.ts';

const { LAKE_BUCKET } = environment.pick({ LAKE_BUCKET: true }).parse(process.env);

export const handler = validate(
  { runFiles: new BucketRunFiles(new S3Client(S3_CLIENT), LAKE_BUCKET), log },
  parseSettings(settings, 'settings.json'),
);
