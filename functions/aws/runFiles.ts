import { GetObjectCommand, NoSuchKey, PutObjectCommand } from '@aws-sdk/client-s3';
import type { S3Client } from '@aws-sdk/client-s3';
import type { RunFiles } from '../ports.ts';

/**
 * `runs/<runId>/` in the lake bucket. An object appears whole or not at all.
 * Reading needs s3:ListBucket besides s3:GetObject: without it S3 refuses what does not exist (403) instead of saying so (404).
 */
export class BucketRunFiles implements RunFiles {
  readonly #client: S3Client;
  readonly #bucket: string;

  constructor(client: S3Client, bucket: string) {
    this.#client = client;
    this.#bucket = bucket;
  }

  async write(runId: string, name: string, text: string): Promise<void> {
    const ContentType = name.endsWith('.json') ? 'application/json' : 'text/plain; charset=utf-8';
    await this.#client.send(new PutObjectCommand({ Bucket: this.#bucket, Key: keyOf(runId, name), Body: text, ContentType }));
  }

  async read(runId: string, name: string): Promise<string | null> {
    try {
      const { Body } = await this.#client.send(new GetObjectCommand({ Bucket: this.#bucket, Key: keyOf(runId, name) }));
      return (await Body?.transformToString()) ?? '';
    } catch (error) {
      if (error instanceof NoSuchKey) return null;
      throw error;
    }
  }
}

function keyOf(runId: string, name: string): string {
  return `runs/${runId}/${name}`;
}
