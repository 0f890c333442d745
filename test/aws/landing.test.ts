import { createServer } from 'node:http';
import type { RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { S3Client } from '@aws-sdk/client-s3';
import { BucketLanding } from '../../functions/aws/landing.ts';
import type { Prepared } from '../../functions/ports.ts';

const FILE = { table: 'customer_landing', key: 'customer_landing/a', version: 'v1', size: 3 } as const;

/** What becomes of a file whose current version is v2, if S3 answers the copying like this. */
async function prepared(status: number, code: string): Promise<Prepared> {
  return preparedBy((request, response) => {
    if (request.method === 'HEAD') response.writeHead(200, { 'x-amz-version-id': 'v2' }).end();
    else response.writeHead(status, { 'content-type': 'application/xml' }).end(`<Error><Code>${code}</Code></Error>`);
  });
}

/** What becomes of a file that is the current version, if S3 reports this about it. */
async function preparedInPlace(headers: Record<string, string>): Promise<Prepared> {
  return preparedBy((request, response) => {
    const status = request.method === 'HEAD' ? 200 : 403;
    response.writeHead(status, { 'x-amz-version-id': FILE.version, ...headers }).end();
  });
}

async function preparedBy(answer: RequestListener): Promise<Prepared> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = new S3Client({
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: 'any', secretAccessKey: 'any' },
  });
  try {
    return await new BucketLanding(client, 'landing', 'lake').prepare('run-1', FILE);
  } finally {
    client.destroy();
    server.close();
  }
}

test.each([
  [403, 'InvalidObjectState'],
  [403, 'AccessDenied'],
  [400, 'InvalidRequest'],
])('an object that S3 refuses with %i %s is refused, and the reason says so', async (status, code) => {
  expect(await prepared(status, code)).toMatchObject({
    ready: false,
    refused: true,
    why: expect.stringContaining(`${status} ${code}`) as unknown,
  });
});

test('a version that is gone is not refused: it is for the file alone', async () => {
  expect(await prepared(404, 'NoSuchVersion')).toEqual({
    ready: false,
    why: expect.stringContaining('deleted for good') as unknown,
  });
});

test.each([
  [500, 'InternalError'],
  [503, 'SlowDown'],
])('%i %s may pass, and breaks the plan', async (status, code) => {
  await expect(prepared(status, code)).rejects.toMatchObject({ name: code });
});

const RESTORED = 'ongoing-request="false", expiry-date="Fri, 21 Dec 2029 00:00:00 GMT"';

test.each([
  [{ 'x-amz-storage-class': 'GLACIER' }, 'GLACIER'],
  [{ 'x-amz-storage-class': 'DEEP_ARCHIVE' }, 'DEEP_ARCHIVE'],
  [{ 'x-amz-storage-class': 'GLACIER', 'x-amz-restore': 'ongoing-request="true"' }, 'GLACIER'],
  [{ 'x-amz-storage-class': 'INTELLIGENT_TIERING', 'x-amz-archive-status': 'ARCHIVE_ACCESS' }, 'ARCHIVE_ACCESS'],
])('an archived object is not ready, and what to do is said: %j', async (headers, where) => {
  expect(await preparedInPlace(headers)).toEqual({
    ready: false,
    why: `it is archived (${where}); restore it, then "stedi retry"`,
  });
});

test.each([
  {},
  { 'x-amz-storage-class': 'STANDARD_IA' },
  { 'x-amz-storage-class': 'GLACIER_IR' },
  { 'x-amz-storage-class': 'INTELLIGENT_TIERING' },
  { 'x-amz-storage-class': 'GLACIER', 'x-amz-restore': RESTORED },
])('an object that S3 gives out at once is read where it stands: %j', async (headers) => {
  expect(await preparedInPlace(headers)).toEqual({ ready: true, input: null });
});
