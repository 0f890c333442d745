import { copyFileSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';

export const PROJECT = path.join(import.meta.dirname, '../..');
const OWN = new Set(['.git', '.cache', '.serverless', '.esbuild', 'lake', 'settings.json', 'serverless.yml']);

/** The project's own settings, as JSON. */
export function projectSettings(): object {
  const settings: unknown = JSON.parse(readFileSync(path.join(PROJECT, 'settings.json'), 'utf8'));
  if (typeof settings !== 'object' || settings === null) throw new Error('settings.json holds no object');
  return settings;
}

/** Makes a folder that is the project with other settings: everything else links to the project's own files. */
export function serviceWith(settings: string, folder: string): string {
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(PROJECT).filter((each) => !OWN.has(each)))
    symlinkSync(path.join(PROJECT, name), path.join(folder, name));
  copyFileSync(path.join(PROJECT, 'serverless.yml'), path.join(folder, 'serverless.yml')); // it must not be a link
  writeFileSync(path.join(folder, 'settings.json'), settings);
  return folder;
}
