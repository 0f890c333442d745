import { readdirSync, readFileSync } from 'node:fs';
import { hashOfDefinition } from '../functions/core/definition.ts';
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

/** The hash of everything that decides what the tables hold and what is counted in them. */
export function definitionHash(policies: Policies): string {
  return hashOfDefinition(policies, new Map([...sqlFiles('models'), ...sqlFiles('counts')]));
}
