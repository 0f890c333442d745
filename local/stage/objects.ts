import { Readable } from 'node:stream';
import type { GetObjectCommandOutput } from '@aws-sdk/client-s3';

/** An object's content, piece by piece; in Node it comes as a stream of Node's. */
export async function* bytesOf(body: GetObjectCommandOutput['Body']): AsyncGenerator<Uint8Array> {
  if (!(body instanceof Readable)) return;
  for await (const chunk of body) if (chunk instanceof Uint8Array) yield chunk;
}
