import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { GetObjectCommand, PutObjectCommand, S3ServiceException } from '@aws-sdk/client-s3';
import { inParallel } from '../../functions/core/parallel.ts';
import { UsageError } from '../../functions/core/errors.ts';
import type { FileVersion } from '../../functions/ports.ts';
import { hashOf, suffixed } from '../dropFiles.ts';
import type { Drop, Dropped } from '../dropFiles.ts';
import { bytesOf } from './objects.ts';
import type { Stage } from './stage.ts';

/** S3 takes up to 5 GB in one request. */
const LARGEST = 5 * 1024 ** 3;
/** Files read into memory can be sent again when a connection breaks. */
const IN_MEMORY = 32 * 1024 ** 2;
const AT_ONCE = 4;

/** A file that was put into landing; with its version if this call put it there. */
interface DroppedVersion extends Dropped {
  file: FileVersion | null;
}

/** Puts files into the landing bucket. As on one machine, a name that is taken by other content gets a suffix. */
export async function dropIntoLanding(stage: Stage, drops: readonly Drop[]): Promise<DroppedVersion[]> {
  for (const { file } of drops) {
    if ((await stat(file)).size > LARGEST)
      throw new UsageError(
        `${file} is larger than 5 GB: use "aws s3 cp ${file} s3://${stage.landingBucket}/<table>/"; nothing was copied`,
      );
  }
  return inParallel(drops, (drop) => dropFile(stage, drop), AT_ONCE);
}

async function dropFile(stage: Stage, { table, file }: Drop): Promise<DroppedVersion> {
  const { size } = await stat(file);
  for (let number = 1; ; number += 1) {
    const key = `${table}/${suffixed(path.basename(file), number)}`;
    const version = await putNew(stage, key, file, size);
    if (version !== null) return { key, added: true, file: { table, key, version, size } };
    if ((await hashOfObject(stage, key)) === (await hashOf(file))) return { key, added: false, file: null };
  }
}

/** The version id of the new object; null when the name is taken. */
async function putNew({ s3, landingBucket }: Stage, key: string, file: string, size: number): Promise<string | null> {
  const Body = size <= IN_MEMORY ? await readFile(file) : createReadStream(file);
  try {
    const { VersionId } = await s3.send(
      new PutObjectCommand({ Bucket: landingBucket, Key: key, Body, ContentLength: size, IfNoneMatch: '*' }),
    );
    return VersionId ?? 'null';
  } catch (error) {
    if (error instanceof S3ServiceException && error.$metadata.httpStatusCode === 412) return null;
    throw error;
  }
}

async function hashOfObject({ s3, landingBucket }: Stage, key: string): Promise<string> {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket: landingBucket, Key: key }));
  const hash = createHash('sha256');
  for await (const chunk of bytesOf(Body)) hash.update(chunk);
  return hash.digest('hex');
}
