import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { CONTRACTS } from '../functions/core/contracts.ts';
import type { Policies } from '../functions/core/settings.ts';

/** The project folder: where glue/, statemachine/ and settings.json are. */
export const PROJECT = new URL('../', import.meta.url);

export function projectFile(name: string): string {
  return readFileSync(new URL(name, PROJECT), 'utf8');
}

/** The SQL files of one folder of `glue/`, by name. */
export function sqlFiles(folder: 'models' | 'audits' | 'counts' | 'excepted'): Map<string, string> {
  const names = readdirSync(new URL(`glue/${folder}/`, PROJECT))
    .filter((name) => name.endsWith('.sql'))
    .sort();
  return new Map(names.map((name) => [name.slice(0, -'.sql'.length), projectFile(`glue/${folder}/${name}`)]));
}

/**
 * The hash of everything that decides what the tables hold and what is counted in them: policies, models, counts and contracts. A hash that
 * differs from the published one is a reason to run. On one machine it is computed when the lake is opened, on AWS when the service is packaged.
 */
export function definitionHash(
  { mlJoin, consentFrom }: Policies,
  sql: ReadonlyMap<string, string> = new Map([...sqlFiles('models'), ...sqlFiles('counts')]),
): string {
  const parts = JSON.stringify([{ mlJoin, consentFrom }, [...sql], CONTRACTS]);
  return createHash('sha256').update(parts).digest('hex').slice(0, 16);
}
