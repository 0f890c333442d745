import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';

export const PROJECT = path.join(import.meta.dirname, '../..');
const OWN = new Set(['.git', '.cache', '.serverless', '.esbuild', 'lake', 'settings.json', 'serverless.yml']);

/** Where test/template/run keeps what it makes. */
export function cacheFolder(): string {
  const folder = process.env['STEDI_TEMPLATE_CACHE'];
  if (folder === undefined) throw new Error('these tests are started by "npm run test:template"');
  return folder;
}

/** The settings that come with the project, as JSON. */
export function projectSettings(): object {
  const settings: unknown = JSON.parse(readFileSync(path.join(PROJECT, 'settings.json'), 'utf8'));
  if (typeof settings !== 'object' || settings === null) throw new Error('settings.json holds no object');
  return settings;
}

/** Makes a folder that is the project with other settings: everything else leads to the project's own files. */
export function serviceWith(settings: string, folder: string): string {
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(PROJECT).filter((each) => !OWN.has(each)))
    symlinkSync(path.join(PROJECT, name), path.join(folder, name));
  copyFileSync(path.join(PROJECT, 'serverless.yml'), path.join(folder, 'serverless.yml')); // it must not be a link
  writeFileSync(path.join(folder, 'settings.json'), settings);
  return folder;
}

/** Runs `serverless package` as on a machine that has never heard of an AWS account. */
export function packageService(service: string, ...args: string[]): { code: number | null; output: string } {
  const environment = Object.entries(process.env).filter(([name]) => !/^(AWS_|SLS_)/.test(name));
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [path.join(PROJECT, 'node_modules/serverless/bin/serverless.js'), 'package', ...args],
    { cwd: service, encoding: 'utf8', env: { ...Object.fromEntries(environment), HOME: service, NODE_OPTIONS: '' } },
  );
  return { code: status, output: `${stdout}${stderr}` };
}
