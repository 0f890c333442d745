import { DescribeTableCommand, DynamoDBClient, ResourceNotFoundException } from '@aws-sdk/client-dynamodb';
import { GlueClient } from '@aws-sdk/client-glue';
import { S3Client } from '@aws-sdk/client-s3';
import { SFNClient } from '@aws-sdk/client-sfn';
import { CLIENT, S3_CLIENT } from '../../functions/aws/clients.ts';
import { executionArnOf } from '../../functions/aws/executions.ts';
import { VisibleLake } from '../../functions/aws/lake.ts';
import { DynamoLedger } from '../../functions/aws/ledger.ts';
import { BucketRunFiles } from '../../functions/aws/runFiles.ts';
import { StageError, UsageError } from '../../functions/core/errors.ts';
import { STAGE_NAME } from '../../functions/core/settings.ts';
import type { CommonOptions } from '../lake.ts';
import { asStageError } from './errors.ts';

const SERVICE = 'stedi';
/** Where `serverless deploy` goes by default. */
const DEFAULT_REGION = 'us-east-1';

/** A deployed stage: what its resources are called, and the ports over them. serverless.yml gives the names. */
export class Stage {
  readonly name: string;
  readonly region: string;
  readonly landingBucket: string;
  readonly lakeBucket: string;
  readonly database: string;
  readonly workgroup: string;
  readonly stateMachineArn: string;
  readonly s3: S3Client;
  readonly sfn: SFNClient;
  readonly ledger: DynamoLedger;
  readonly runFiles: BucketRunFiles;
  readonly lake: VisibleLake;

  constructor(
    name: string,
    region: string,
    { partition, account }: { partition: string; account: string },
    dynamodb: DynamoDBClient,
  ) {
    this.name = name;
    this.region = region;
    const prefix = prefixOf(name);
    this.landingBucket = `${prefix}-landing-${account}-${region}`;
    this.lakeBucket = `${prefix}-lake-${account}-${region}`;
    this.database = `${SERVICE}_${name}`;
    this.workgroup = `${prefix}-operators`;
    this.stateMachineArn = `arn:${partition}:states:${region}:${account}:stateMachine:${prefix}-pipeline`;
    this.s3 = new S3Client({ ...S3_CLIENT, region });
    this.sfn = new SFNClient({ ...CLIENT, region });
    this.ledger = new DynamoLedger(dynamodb, ledgerOf(name), () => new Date());
    this.runFiles = new BucketRunFiles(this.s3, this.lakeBucket);
    this.lake = new VisibleLake(new GlueClient({ ...CLIENT, region }), this.s3, this.database, this.runFiles);
  }

  /** Where the Step Functions console shows an execution. */
  consoleLink(runId: string): string {
    const arn = executionArnOf(this.stateMachineArn, runId);
    return `https://${this.region}.console.aws.amazon.com/states/home?region=${this.region}#/v2/executions/details/${arn}`;
  }
}

/** Finds the stage that the options name, and works with it. @throws StageError saying what is wrong, where AWS only has a code */
export async function withStage<T>(options: CommonOptions, work: (stage: Stage) => Promise<T>): Promise<T> {
  const name = options.stage ?? '';
  if (!STAGE_NAME.test(name)) throw new UsageError(`--stage ${name}: expected the name of a stage, for example dev`);
  const region = options.region ?? process.env['AWS_REGION'] ?? DEFAULT_REGION;
  try {
    return await work(await findStage(name, region));
  } catch (error) {
    throw asStageError(error, { name, region });
  }
}

/** The ledger table shows whether the stage is there, and in which account. */
async function findStage(name: string, region: string): Promise<Stage> {
  // A wrong region or a missing network shows at once: this request has the SDK's usual three tries.
  const probe = new DynamoDBClient({ region });
  try {
    const { Table } = await probe.send(new DescribeTableCommand({ TableName: ledgerOf(name) }));
    const [, partition, account] = /^arn:([^:]+):dynamodb:[^:]+:(\d+):/.exec(Table?.TableArn ?? '') ?? [];
    if (partition === undefined || account === undefined)
      throw new StageError(`${ledgerOf(name)}: AWS did not say which account it is in`);
    return new Stage(name, region, { partition, account }, new DynamoDBClient({ ...CLIENT, region }));
  } catch (error) {
    if (!(error instanceof ResourceNotFoundException)) throw error;
    throw new StageError(
      `There is no stage ${name} in ${region} (no table ${ledgerOf(name)}): "npx serverless deploy --stage ${name} --region ${region}" makes one, --region names another region`,
    );
  }
}

function prefixOf(name: string): string {
  return `${SERVICE}-${name}`;
}

function ledgerOf(name: string): string {
  return `${prefixOf(name)}-ledger`;
}
