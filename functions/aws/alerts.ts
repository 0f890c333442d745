import { PublishCommand } from '@aws-sdk/client-sns';
import type { SNSClient } from '@aws-sdk/client-sns';
import type { Alerts } from '../ports.ts';

/** An SNS message holds up to 256 KB, attributes included. */
const LONGEST_BYTES = 250_000;
const LONGEST_SUBJECT = 100;

/** Sends alerts as messages of one SNS topic; the attributes are for filter policies. */
export class TopicAlerts implements Alerts {
  readonly #client: SNSClient;
  readonly #topicArn: string;

  constructor(client: SNSClient, topicArn: string) {
    this.#client = client;
    this.#topicArn = topicArn;
  }

  async send({ subject, text, attributes }: Parameters<Alerts['send']>[0]): Promise<void> {
    await this.#client.send(
      new PublishCommand({
        TopicArn: this.#topicArn,
        Subject: subjectOf(subject),
        Message: bodyOf(text),
        MessageAttributes: Object.fromEntries(
          Object.entries(attributes).map(([name, value]) => [name, { DataType: 'String', StringValue: value }]),
        ),
      }),
    );
  }
}

/** SNS takes up to 100 printable ASCII characters; subjects here begin with a letter, as it asks. */
function subjectOf(subject: string): string {
  return subject.replace(/[^\x20-\x7e]/g, '?').slice(0, LONGEST_SUBJECT);
}

/** The outcome comes first, so a report that is too long loses its end. */
function bodyOf(text: string): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= LONGEST_BYTES) return text;
  const end = '\n\n… cut here; the whole report is runs/<run>/report.md in the lake bucket\n';
  // A character split by the cut becomes U+FFFD and is dropped.
  return `${bytes
    .subarray(0, LONGEST_BYTES - Buffer.byteLength(end))
    .toString()
    .replace(/\ufffd+$/, '')}${end}`;
}
