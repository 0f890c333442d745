/** A run's name, which is the name of its execution: when it was asked for, in UTC, and something that no other run has. */
export function runIdOf(askedFor: Date, unique: string): string {
  const [day = '', time = ''] = askedFor
    .toISOString()
    .replace(/[-:]|\.\d+Z$/g, '')
    .split('T');
  return `run-${day}-${time}-${unique}`;
}
