import { z } from 'zod';

/** An execution started by hand has any name that Step Functions takes; a run's id is also the name of a branch, and appears in SQL. */
export const runIdSchema = z
  .string()
  .regex(
    /^[A-Za-z0-9-]+$/,
    'a run needs a name of letters, digits and "-": start the execution under another name, or under none',
  );

/** A run's name, which is also that of its execution: when it was asked for, in UTC, and something that no other run has. */
export function runIdOf(askedFor: Date, unique: string): string {
  const [day = '', time = ''] = askedFor
    .toISOString()
    .replace(/[-:]|\.\d+Z$/g, '')
    .split('T');
  return `run-${day}-${time}-${unique}`;
}
