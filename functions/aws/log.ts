import type { Log } from '../core/events.ts';

/**
 * One JSON line for each event. Written to standard output as it is: console.log would put time and request id before it, and metric
 * filters could not read the line as JSON.
 */
export const log: Log = (event, fields) => {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
};
