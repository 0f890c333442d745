import type { Call } from './calls.ts';

/** The one place that says which IAM actions a call needs. Most have the name of the command. */

const PREFIX: Record<string, string> = { dynamodb: 'dynamodb', glue: 'glue', s3: 's3', sfn: 'states', sns: 'sns' };

const OTHERWISE: Record<string, string[]> = {
  // Without s3:ListBucket S3 refuses what does not exist (403) instead of saying so (404).
  's3 GetObject': ['s3:GetObject', 's3:ListBucket'],
  's3 HeadObject': ['s3:GetObject', 's3:ListBucket'],
  's3 CopyObject': ['s3:GetObjectVersion', 's3:PutObject', 's3:PutObjectTagging'], // always of one version, with a tag of its own
  's3 ListObjectVersions': ['s3:ListBucketVersions'],
  'sns Publish': ['sns:Publish', 'kms:Decrypt', 'kms:GenerateDataKey'], // the topic is encrypted with a key of ours
  'dynamodb TransactWriteItems': [], // its actions count, one by one
  'dynamodb TransactWriteItems.ConditionCheck': ['dynamodb:ConditionCheckItem'],
  'dynamodb TransactWriteItems.Put': ['dynamodb:PutItem'],
  'dynamodb TransactWriteItems.Update': ['dynamodb:UpdateItem'],
  'dynamodb TransactWriteItems.Delete': ['dynamodb:DeleteItem'],
};

/** The actions that these calls of TypeScript code need. */
export function actionsOf(calls: readonly Call[]): Set<string> {
  return new Set(calls.flatMap(actionsOfCall));
}

function actionsOfCall({ service, command, input }: Call): string[] {
  const prefix = PREFIX[service];
  if (prefix === undefined) throw new Error(`test/template/actions.ts does not know how IAM calls ${service}`);
  const actions = OTHERWISE[`${service} ${command}`] ?? [`${prefix}:${command}`];
  return `${service} ${command}` === 's3 GetObject' && input.includes('VersionId')
    ? [...actions, 's3:GetObjectVersion']
    : actions;
}

/** What calls of boto3 in glue/ need. */
export const BOTO3: Record<string, string[]> = {
  get_object: ['s3:GetObject', 's3:ListBucket'],
  head_object: ['s3:GetObject', 's3:ListBucket'],
  put_object: ['s3:PutObject'],
  upload_file: ['s3:PutObject', 's3:AbortMultipartUpload'],
  get_item: ['dynamodb:GetItem'],
  update_item: ['dynamodb:UpdateItem'],
};

/** What Iceberg's GlueCatalog and S3FileIO do for the jobs (https://iceberg.apache.org/docs/1.10.0/aws/); docs/spark.md has the same list. */
export const ICEBERG = [
  'glue:GetDatabase',
  'glue:GetTables',
  'glue:GetTable',
  'glue:CreateTable',
  'glue:UpdateTable',
  's3:GetObject',
  's3:PutObject',
  's3:DeleteObject',
  's3:AbortMultipartUpload',
  's3:ListBucket',
];

/** What Lambda does with the role of a function. */
export const LAMBDA = ['logs:CreateLogStream', 'logs:PutLogEvents', 'xray:PutTraceSegments', 'xray:PutTelemetryRecords'];
export const LAMBDA_FROM_QUEUE = ['sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:GetQueueAttributes'];
export const LAMBDA_TO_DEAD_LETTERS = ['sqs:SendMessage'];

/** What Glue does with the role of a job: logs and metrics. Its script and bundle are read with s3:GetObject. */
export const GLUE = ['logs:CreateLogGroup', 'logs:CreateLogStream', 'logs:PutLogEvents', 'cloudwatch:PutMetricData'];
export const GLUE_IN_VPC = [
  'glue:GetConnection',
  'ec2:CreateNetworkInterface',
  'ec2:CreateTags',
  'ec2:DeleteNetworkInterface',
  'ec2:DeleteTags',
  'ec2:DescribeNetworkInterfaces',
  'ec2:DescribeRouteTables',
  'ec2:DescribeSecurityGroups',
  'ec2:DescribeSubnets',
  'ec2:DescribeVpcAttribute',
  'ec2:DescribeVpcEndpoints',
];

/** What Step Functions does with the role of a state machine, by the resource of a Task, and to log and trace. */
export const TASK: Record<string, string[]> = {
  'arn:aws:states:::lambda:invoke': ['lambda:InvokeFunction'],
  'arn:aws:states:::glue:startJobRun.sync': ['glue:StartJobRun', 'glue:GetJobRun', 'glue:GetJobRuns', 'glue:BatchStopJobRun'],
};
export const STATE_MACHINE = [
  'logs:CreateLogDelivery',
  'logs:GetLogDelivery',
  'logs:UpdateLogDelivery',
  'logs:DeleteLogDelivery',
  'logs:ListLogDeliveries',
  'logs:PutResourcePolicy',
  'logs:DescribeResourcePolicies',
  'logs:DescribeLogGroups',
  'xray:PutTraceSegments',
  'xray:PutTelemetryRecords',
  'xray:GetSamplingRules',
  'xray:GetSamplingTargets',
];
