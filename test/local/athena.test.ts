import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ask } from '../../local/stage/athena.ts';

const PAGE = 1000;
const ENDED = {
  Status: { State: 'SUCCEEDED' },
  StatementType: 'DML',
  ResultConfiguration: { OutputLocation: 's3://lake/athena/q-1.csv' },
};
const stage = { region: 'us-east-1', workgroup: 'operators', database: 'stedi' };

/** Answers as Athena does, with this many rows of one number; the very first row is the header. */
async function asked<T>(rows: number, work: () => Promise<T>): Promise<T> {
  const pageFrom = (first: number) => ({
    ResultSet: {
      ResultSetMetadata: { ColumnInfo: [{ Name: 'at', Type: 'integer' }] },
      Rows: Array.from({ length: Math.min(PAGE, rows + 1 - first) }, (_, at) => ({
        Data: [{ VarCharValue: first + at === 0 ? 'at' : String(first + at) }],
      })),
    },
    ...(first + PAGE < rows + 1 && { NextToken: String(first + PAGE) }),
  });
  const server = createServer();
  server.on('request', (request, response) => void answer(request, response));
  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = (await request.toArray()).join('');
    const { NextToken = '0' } = JSON.parse(body) as { NextToken?: string };
    const answers: Record<string, unknown> = {
      'AmazonAthena.StartQueryExecution': { QueryExecutionId: 'q-1' },
      'AmazonAthena.GetQueryExecution': { QueryExecution: ENDED },
      'AmazonAthena.GetQueryResults': pageFrom(Number(NextToken)),
    };
    response.setHeader('content-type', 'application/x-amz-json-1.1');
    response.end(JSON.stringify(answers[String(request.headers['x-amz-target'])]));
  }
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const before = { ...process.env };
  Object.assign(process.env, {
    AWS_ENDPOINT_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    AWS_ACCESS_KEY_ID: 'none',
    AWS_SECRET_ACCESS_KEY: 'none',
  });
  try {
    return await work();
  } finally {
    process.env = before;
    server.closeAllConnections();
    server.close();
  }
}

test('an answer of Athena comes page by page, whole, without its header', async () => {
  const { names, rows } = await asked(2 * PAGE, () => ask(stage, 'select at from loads'));
  expect(names).toEqual(['at']);
  expect(rows).toEqual(Array.from({ length: 2 * PAGE }, (_, at) => ({ at: at + 1 })));
});

test('more rows than were asked for are not fetched: where they are is said', async () => {
  const tooMany = asked(50 * PAGE, () => ask(stage, 'select at from loads', 2 * PAGE));
  await expect(tooMany).rejects.toThrow(/more than 2,000 rows: see all of them in s3:\/\/lake\/athena\/q-1\.csv/);
});
