import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { PROJECT } from '../support/service.ts';

/** Where test/template/run keeps what it makes. */
export function cacheFolder(): string {
  const folder = process.env['STEDI_TEMPLATE_CACHE'];
  if (folder === undefined) throw new Error('these tests are started by "npm run test:template"');
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
