import { createHash } from 'node:crypto';
import {
  CopyObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectVersionsCommand,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import type { HeadObjectCommandOutput, ListObjectVersionsCommandOutput, S3Client } from '@aws-sdk/client-s3';
import { isIgnoredKey, landingTableOf, tablesFrom } from '../core/catalogFile.ts';
import type { FileVersion, Landing, ListedFile, Prepared } from '../ports.ts';

/** In bytes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html */
const LONGEST_KEY = 1024;

/** S3 copies up to 5 GB in one request. */
const LARGEST_COPY = 5 * 1024 ** 3;

/**
 * The landed files: the objects below `<table>/` in a versioned bucket. Requests for objects need s3:ListBucket besides s3:GetObject: without it,
 * S3 refuses those that do not exist (403) instead of saying so (404).
 */
export class LandedFiles implements Pick<Landing, 'head' | 'list'> {
  protected readonly client: S3Client;
  protected readonly bucket: string;

  constructor(client: S3Client, bucket: string) {
    this.client = client;
    this.bucket = bucket;
  }

  /** From the named version, or from the current one if none is named. */
  async head(key: string, bytes: number, version?: string): Promise<Uint8Array> {
    const range = { Bucket: this.bucket, Key: key, VersionId: version, Range: `bytes=0-${bytes - 1}` };
    try {
      const { Body } = await this.client.send(new GetObjectCommand(range));
      return (await Body?.transformToByteArray())?.subarray(0, bytes) ?? new Uint8Array();
    } catch (error) {
      if (hasStatus(error, 416)) return new Uint8Array(); // there is no first byte: the file is empty
      throw error;
    }
  }

  /** Every version of every key, a key's latest first: one that was overwritten before its event came is a file version too. */
  async *list(after: string | null = null): AsyncIterable<ListedFile[]> {
    for (const table of tablesFrom(after)) {
      const prefix = `${table}/`;
      for await (const page of this.#pages(prefix, after?.startsWith(prefix) === true ? after : null)) yield page;
    }
  }

  async *#pages(prefix: string, after: string | null): AsyncIterable<ListedFile[]> {
    let from: { KeyMarker?: string | undefined; VersionIdMarker?: string | undefined } | null =
      after === null ? {} : { KeyMarker: after };
    while (from !== null) {
      const page: ListObjectVersionsCommandOutput = await this.client.send(
        // Keys come encoded: the answer is XML, which cannot express some of the characters that a key may hold.
        new ListObjectVersionsCommand({ Bucket: this.bucket, Prefix: prefix, EncodingType: 'url', ...from }),
      );
      const decode = page.EncodingType === 'url' ? decoded : (key: string) => key;
      yield (page.Versions ?? []).flatMap(({ Key = '', VersionId, Size = 0, LastModified }) => {
        const key = decode(Key);
        const table = landingTableOf(key);
        return table === null || isIgnoredKey(key) || VersionId === undefined
          ? []
          : [{ table, key, version: VersionId, size: Size, landedAt: LastModified?.toISOString() }];
      });
      from =
        page.IsTruncated === true && page.NextKeyMarker !== undefined
          ? { KeyMarker: decode(page.NextKeyMarker), VersionIdMarker: page.NextVersionIdMarker }
          : null;
    }
  }
}

/**
 * The landing zone as runs read it. A version that was overwritten or deleted can still be read by its version id, so it is copied below the run in
 * the lake bucket, `runs/<runId>/input/<version>/<key>`: jobs read objects by key, and two versions of one key may be claimed. If that key would be
 * too long, a hash replaces the landing key. A current version is read in place, and the job fails if it is overwritten meanwhile; a run that
 * has to expect this reads copies of everything.
 */
export class BucketLanding extends LandedFiles implements Landing {
  readonly #lakeBucket: string;

  constructor(client: S3Client, bucket: string, lakeBucket: string) {
    super(client, bucket);
    this.#lakeBucket = lakeBucket;
  }

  /** A file too large to copy is read in place as long as it can be. */
  async prepare(runId: string, file: FileVersion, mayChange = false): Promise<Prepared> {
    try {
      const current = await this.#current(file.key);
      if (current?.version !== file.version) return await this.#copy(runId, file);
      if (current.archived !== null)
        return { ready: false, why: `it is archived (${current.archived}); restore it, then "stedi retry"` };
      return mayChange && file.size <= LARGEST_COPY ? await this.#copy(runId, file) : { ready: true, input: null };
    } catch (error) {
      // Such as an object with a key of its own (SSE-C), or one that a policy denies; an archived one has a name and the same status.
      if (!hasStatus(error, 400, 403)) throw error;
      return {
        ready: false,
        refused: true,
        why: `S3 refuses to serve it (${error.$metadata.httpStatusCode} ${error.name}); check its storage class, encryption and policy`,
      };
    }
  }

  /** What a key holds now; null if it was deleted, which hides its versions. */
  async #current(key: string): Promise<{ version: string | undefined; archived: string | null } | null> {
    try {
      const head = await this.client.send(new HeadObjectCommand({ Bucket: this.bucket, Key: key }));
      return { version: head.VersionId, archived: archiveOf(head) };
    } catch (error) {
      if (hasStatus(error, 404)) return null;
      throw error;
    }
  }

  async #copy(runId: string, { key, version, size }: FileVersion): Promise<Prepared> {
    if (size > LARGEST_COPY) {
      return {
        ready: false,
        why: 'the file was overwritten or deleted before it was read, and is too large to copy (over 5 GB); put it back under another name',
      };
    }
    const input = inputKey(`runs/${runId}/input/${version}`, key);
    const CopySource = `${this.bucket}/${encodeURIComponent(key)}?versionId=${encodeURIComponent(version)}`;
    try {
      // The file's own tags are dropped; this one tells the lake bucket's lifecycle what nobody reads after the run (resources/storage.yml).
      const copy = {
        Bucket: this.#lakeBucket,
        Key: input,
        CopySource,
        TaggingDirective: 'REPLACE',
        Tagging: 'kept=for-a-run',
      } as const;
      await this.client.send(new CopyObjectCommand(copy));
      return { ready: true, input };
    } catch (error) {
      if (!hasStatus(error, 404)) throw error;
      return {
        ready: false,
        why: 'this version of the file was deleted for good before it was read; put the file back, as a new file version',
      };
    }
  }
}

/** The archive of an object that S3 gives out only once restored; null if it gives it out at once. */
function archiveOf({ StorageClass, ArchiveStatus, Restore = '' }: HeadObjectCommandOutput): string | null {
  const isArchived = ArchiveStatus !== undefined || StorageClass === 'GLACIER' || StorageClass === 'DEEP_ARCHIVE';
  return isArchived && !Restore.includes('ongoing-request="false"') ? (ArchiveStatus ?? StorageClass ?? null) : null;
}

function inputKey(folder: string, key: string): string {
  const input = `${folder}/${key}`;
  return Buffer.byteLength(input) <= LONGEST_KEY ? input : `${folder}/${createHash('sha256').update(key).digest('hex')}`;
}

function hasStatus(error: unknown, ...statuses: number[]): error is S3ServiceException {
  return error instanceof S3ServiceException && statuses.includes(error.$metadata.httpStatusCode ?? 0);
}

/** Decodes a key of an S3 listing, where a blank is a plus sign. */
function decoded(key: string): string {
  return decodeURIComponent(key.replaceAll('+', ' '));
}
