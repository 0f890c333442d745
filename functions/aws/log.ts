import type { Log } from '../core/events.ts';

/**
 * One JSON line per event. Written to standard output as is: console.log would prepend time and request id, and metric filters could not
 * read the line as JSON.
 */
export const log: Log = (event, fields) => {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
};
