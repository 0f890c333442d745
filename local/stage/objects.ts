import { Readable } from 'node:stream';
import { paginateListObjectsV2 } from '@aws-sdk/client-s3';
import type { GetObjectCommandOutput } from '@aws-sdk/client-s3';
import type { Stage } from './stage.ts';

/** An object's content, piece by piece; in Node it comes as a Node stream. */
export async function* bytesOf(body: GetObjectCommandOutput['Body']): AsyncGenerator<Uint8Array> {
  if (!(body instanceof Readable)) return;
  for await (const chunk of body) if (chunk instanceof Uint8Array) yield chunk;
}

/** Every run that left something, oldest first: names begin with the time. */
export async function runsOf({ s3, lakeBucket }: Stage): Promise<string[]> {
  const runs: string[] = [];
  for await (const { CommonPrefixes = [] } of paginateListObjectsV2(
    { client: s3 },
    { Bucket: lakeBucket, Prefix: 'runs/', Delimiter: '/' },
  )) {
    runs.push(...CommonPrefixes.map(({ Prefix = '' }) => Prefix.slice('runs/'.length, -1)));
  }
  return runs.sort();
}
