import { createHash } from 'node:crypto';
import { CONTRACTS } from './contracts.ts';
import type { Policies } from './settings.ts';

/**
 * The hash of everything that decides what the tables hold: policies, models and contracts. Another hash than the published one's is a reason to
 * run. On one machine it is computed when the lake is opened, on AWS when the service is packaged.
 */
export function hashOfDefinition({ mlJoin, consentFrom }: Policies, models: ReadonlyMap<string, string>): string {
  const parts = JSON.stringify([{ mlJoin, consentFrom }, [...models], CONTRACTS]);
  return createHash('sha256').update(parts).digest('hex').slice(0, 16);
}
