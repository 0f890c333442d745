import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { unzipSync } from 'fflate';
import { z } from 'zod';
import { object, Template, text } from './template.ts';

const MEGABYTE = 1024 * 1024;

const template = new Template('default');
const functions = template.ofType('AWS::Lambda::Function').map(([id, properties]) => {
  const zip = path.join(template.folder, path.basename(text(object(properties['Code'])['S3Key'] ?? '')));
  return {
    id,
    zip,
    handler: text(properties['Handler'] ?? ''),
    environment: object(object(properties['Environment'])['Variables']),
  };
});

/**
 * Unpacks a bundle and loads its handler as Lambda does: by file and export, with its own environment and nothing else; once with all of
 * it, and once without each name. Returns what came of each.
 */
function loaded(zip: string, handler: string, environment: Record<string, string>): Record<string, string> {
  const folder = mkdtempSync(path.join(tmpdir(), 'stedi-bundle-'));
  try {
    for (const [name, content] of Object.entries(unzipSync(readFileSync(zip))))
      writeFileSync(path.join(folder, path.basename(name)), content);
    const [, file = '', name = ''] = /^(\w+)\.(\w+)$/.exec(path.basename(handler)) ?? [];
    const module = readdirSync(folder).find((each) => path.parse(each).name === file) ?? 'missing';
    const script = `
      const [module, name, ...names] = process.argv.slice(1);
      const all = { ...process.env };
      const told = {};
      for (const without of ['nothing', ...names]) {
        process.env = { ...all };
        delete process.env[without];
        told[without] = await import(module + '?' + without).then((loaded) => typeof loaded[name], (error) => error.message);
      }
      console.log(JSON.stringify(told));`;
    const output = execFileSync(
      process.execPath,
      ['--input-type=module', '--eval', script, path.join(folder, module), name, ...Object.keys(environment)],
      { encoding: 'utf8', cwd: folder, env: { ...environment, AWS_REGION: 'us-east-1' } },
    );
    return z.record(z.string(), z.string()).parse(JSON.parse(output));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('functions run on Node 24, as these tests do', () => {
  expect(template.ofType('AWS::Lambda::Function').map(([, { Runtime }]) => Runtime)).toEqual(functions.map(() => 'nodejs24.x'));
  expect(process.versions.node).toMatch(/^24\./);
});

describe.each(functions)('the bundle of $id', ({ zip, handler, environment }) => {
  test('is smaller than a megabyte', () => {
    expect(statSync(zip).size).toBeLessThan(MEGABYTE);
  });

  test('holds one file', () => {
    expect(Object.keys(unzipSync(readFileSync(zip)))).toHaveLength(1);
  });

  test('keeps the names of our errors, which people are told', () => {
    const [source = new Uint8Array()] = Object.values(unzipSync(readFileSync(zip)));
    expect(Buffer.from(source).toString()).toContain('"NamedError"');
  });

  test('loads with the environment that the template gives it, and needs all of it', () => {
    const given = Object.entries(environment).map(([name, value]) => [name, text(value)] as const);
    const { nothing, ...told } = loaded(zip, handler, Object.fromEntries(given));
    expect(nothing).toBe('function');
    for (const [name] of given) expect(told[name]).toContain(name);
  });
});
