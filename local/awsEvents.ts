import type { FileVersion } from '../functions/ports.ts';

/** Events in the shapes that AWS delivers, as far as the handlers read them. */

/** "Object Created" of S3, as EventBridge delivers it. */
export function objectCreated({ key, version, size }: Pick<FileVersion, 'key' | 'version' | 'size'>) {
  return {
    version: '0',
    source: 'aws.s3',
    'detail-type': 'Object Created',
    detail: { version: '0', bucket: { name: 'landing' }, object: { key, size, 'version-id': version } },
  };
}

/** A batch of a queue fed by EventBridge: one event per record. */
export function sqsBatch(events: readonly unknown[]) {
  return { Records: events.map((event, at) => ({ messageId: String(at), eventSource: 'aws:sqs', body: JSON.stringify(event) })) };
}

export function scheduledEvent() {
  return { version: '0', source: 'aws.events', 'detail-type': 'Scheduled Event', detail: {} };
}

/** "Execution Status Change" of Step Functions. */
export function statusChanged(name: string, status: 'SUCCEEDED' | 'FAILED') {
  return {
    version: '0',
    source: 'aws.states',
    'detail-type': 'Step Functions Execution Status Change',
    detail: { name, status },
  };
}
