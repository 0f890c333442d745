import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DynamoDBClient, GetItemCommand } from '@aws-sdk/client-dynamodb';
import { HeadObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { CLIENT, S3_CLIENT } from '../../functions/aws/clients.ts';
import { PatientRetries } from '../../functions/aws/retries.ts';

interface Service {
  endpoint: string;
  refused: number;
}

/** A service that refuses its first requests, whoever they come from, then answers. */
async function during(
  trouble: { requests: number; refuse: (response: ServerResponse) => void; answer: (response: ServerResponse) => void },
  work: (service: Service) => Promise<void>,
): Promise<void> {
  const service: Service = { endpoint: '', refused: 0 };
  const server = createServer((request, response) => {
    request.resume();
    if (service.refused === trouble.requests) return trouble.answer(response);
    service.refused += 1;
    trouble.refuse(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  service.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    await work(service);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const ACCESS = { region: 'us-east-1', credentials: { accessKeyId: 'any', secretAccessKey: 'any' } };
const MANY = Array.from({ length: 300 }, (_, at) => String(at));

function answeringJson(status: number, body: Record<string, unknown>) {
  return (response: ServerResponse) =>
    void response.writeHead(status, { 'content-type': 'application/x-amz-json-1.0' }).end(JSON.stringify(body));
}

test('three hundred requests at once outlast a table that throttles for a moment', async () => {
  const refuse = answeringJson(400, { __type: 'com.amazonaws.dynamodb.v20120810#ThrottlingException', message: 'slower' });
  await during({ requests: 900, refuse, answer: answeringJson(200, {}) }, async (service) => {
    const client = new DynamoDBClient({ ...CLIENT, ...ACCESS, endpoint: service.endpoint });
    await Promise.all(MANY.map((pk) => client.send(new GetItemCommand({ TableName: 'ledger', Key: { pk: { S: pk } } }))));
    client.destroy();
    expect(service.refused).toBe(900);
  });
});

test('and a bucket that is unavailable for a moment', async () => {
  const answering = (status: number) => (response: ServerResponse) => void response.writeHead(status).end();
  await during({ requests: 900, refuse: answering(503), answer: answering(200) }, async (service) => {
    const client = new S3Client({ ...S3_CLIENT, ...ACCESS, endpoint: service.endpoint, forcePathStyle: true });
    await Promise.all(MANY.map((Key) => client.send(new HeadObjectCommand({ Bucket: 'landing', Key }))));
    client.destroy();
    expect(service.refused).toBe(900);
  });
});

test('what no repetition mends is told at once, under its own name', async () => {
  const refuse = answeringJson(400, {
    __type: 'com.amazonaws.dynamodb.v20120810#ResourceNotFoundException',
    message: 'no table',
  });
  await during({ requests: Infinity, refuse, answer: answeringJson(200, {}) }, async (service) => {
    const client = new DynamoDBClient({ ...CLIENT, ...ACCESS, endpoint: service.endpoint });
    const request = client.send(new GetItemCommand({ TableName: 'ledger', Key: { pk: { S: 'lock' } } }));
    await expect(request).rejects.toMatchObject({ name: 'ResourceNotFoundException' });
    client.destroy();
    expect(service.refused).toBe(1);
  });
});

describe('retries', () => {
  const throttled = { errorType: 'THROTTLING' } as const;

  test('end after ten attempts, whose pauses grow up to ten seconds', async () => {
    const retries = new PatientRetries();
    let token = await retries.acquireInitialRetryToken();
    const pauses: number[] = [];
    for (let retry = 1; retry < 10; retry += 1) {
      token = await retries.refreshRetryTokenForRetry(token, throttled);
      expect(token.getRetryCount()).toBe(retry);
      pauses.push(token.getRetryDelay());
    }
    for (const [at, pause] of pauses.entries()) expect(pause).toBeLessThanOrEqual(Math.min(100 * 2 ** at, 10_000));
    expect(new Set(pauses).size).toBe(9);
    await expect(retries.refreshRetryTokenForRetry(token, throttled)).rejects.toThrow();
  });

  test('wait as long as the service asks, but not for ever', async () => {
    const retries = new PatientRetries();
    const first = await retries.acquireInitialRetryToken();
    for (const [asked, least] of [
      [5_000, 4_000],
      [3_600_000, 10_000],
    ] as const) {
      const hint = { errorType: 'TRANSIENT', retryAfterHint: new Date(Date.now() + asked) } as const;
      const pause = (await retries.refreshRetryTokenForRetry(first, hint)).getRetryDelay();
      expect(pause).toBeGreaterThan(least - 1);
      expect(pause).toBeLessThanOrEqual(10_000);
    }
  });
});
