import { createHash } from 'node:crypto';
import { CONTRACTS } from './contracts.ts';
import type { Policies } from './settings.ts';

/**
 * The hash of everything that decides what the tables hold and what is counted in them: policies, models, counts and contracts. A hash that
 * differs from the published one is a reason to run. On one machine it is computed when the lake is opened, on AWS when the service is packaged.
 * @param sql texts of models and counts, by name
 */
export function hashOfDefinition({ mlJoin, consentFrom }: Policies, sql: ReadonlyMap<string, string>): string {
  const parts = JSON.stringify([{ mlJoin, consentFrom }, [...sql], CONTRACTS]);
  return createHash('sha256').update(parts).digest('hex').slice(0, 16);
}
