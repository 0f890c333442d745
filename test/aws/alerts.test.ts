import { SNSClient } from '@aws-sdk/client-sns';
import type { PublishInput } from '@aws-sdk/client-sns';
import { TopicAlerts } from '../../functions/aws/alerts.ts';

/** What SNS is asked to publish for an alert. */
async function published(alert: { subject?: string; text?: string; attributes?: Record<string, string> }): Promise<PublishInput> {
  const client = new SNSClient({ region: 'us-east-1' });
  const asked: PublishInput[] = [];
  client.middlewareStack.add(
    () => async (args) => {
      asked.push(args.input as PublishInput);
      return { output: { $metadata: {} }, response: {} };
    },
    { step: 'initialize' },
  );
  await new TopicAlerts(client, 'arn:topic').send({ subject: 'subject', text: 'text', attributes: {}, ...alert });
  const [input] = asked;
  if (input === undefined) throw new Error('nothing was published');
  return input;
}

test('an alert goes to the topic, with attributes for filter policies', async () => {
  expect(await published({ attributes: { status: 'FAILED', runId: 'run-1' } })).toEqual({
    TopicArn: 'arn:topic',
    Subject: 'subject',
    Message: 'text',
    MessageAttributes: {
      status: { DataType: 'String', StringValue: 'FAILED' },
      runId: { DataType: 'String', StringValue: 'run-1' },
    },
  });
});

test('a subject is ASCII of one line, and not too long', async () => {
  const { Subject = '' } = await published({ subject: `Größe\n${'x'.repeat(200)}` });
  expect(Subject).toMatch(/^[\x20-\x7e]{100}$/);
});

test('a long report loses its end, in whole characters, and says so', async () => {
  const { Message = '' } = await published({ text: `# FAILED\n${'日'.repeat(200_000)}` });
  expect(Buffer.byteLength(Message)).toBeLessThanOrEqual(250_000);
  expect(Message.startsWith('# FAILED\n日')).toBe(true);
  expect(Message.includes('\ufffd')).toBe(false);
  expect(Message).toMatch(/the whole report is runs/);
  expect((await published({ text: 'x'.repeat(250_000) })).Message).toHaveLength(250_000);
});
