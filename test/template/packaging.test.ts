import { spawnSync } from 'node:child_process';
import { cpSync, globSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { unzipSync } from 'fflate';
import { assetOf, bundle } from '../../plugins/assets.ts';
import Lakehouse from '../../plugins/lakehouse.ts';
import { PROJECT, serviceWith } from '../support/service.ts';
import { packageService } from './service.ts';
import { object, Template, text } from './template.ts';

const folders: string[] = [];
afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

function newFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'stedi-package-'));
  folders.push(folder);
  return folder;
}

function python(script: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync('python3', ['-c', script, ...args], {
    cwd: path.join(PROJECT, 'glue'),
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  return stdout.trim();
}

class FrameworkError extends Error {}

/** What the plugin says about settings and a stage. */
async function refusal(settings: string, stage = 'dev'): Promise<string> {
  const provider = {
    getStage: () => stage,
    getAwsSdkV3Config: async () => ({}),
    getServerlessDeploymentBucketName: async () => '',
  };
  const framework = {
    serviceDir: serviceWith(settings, newFolder()),
    classes: { Error: FrameworkError },
    service: { provider: {} },
    getProvider: () => provider,
  };
  try {
    await new Lakehouse(framework, {}, { log: { notice: () => undefined } }).hooks['initialize']?.();
    return 'taken';
  } catch (error) {
    if (error instanceof FrameworkError) return error.message; // the only ones that are shown without a stack
    throw error;
  }
}

describe('before anything is packaged', () => {
  test.each([
    ['an unknown setting', '{ "mlJion": "time" }', /settings\.json.*unknown setting mlJion; expected one of mlJoin/],
    ['a setting out of its range', '{ "aws": { "jobTimeoutMinutes": 600 } }', /aws\.jobTimeoutMinutes: .*found 600/],
    ['settings that are no JSON', '{', /settings\.json can't be read/],
  ])('%s is refused with what to do', async (_, settings, message) => {
    expect(await refusal(settings)).toMatch(message);
  });

  test.each(['my-stage', 'my_stage', 'Prod', '1st', 'astagewhosenameistoolong'])('--stage %s is refused', async (stage) => {
    expect(await refusal('{}', stage)).toMatch(`--stage ${stage}: expected a lowercase letter`);
  });

  test.each(['dev', 'prod', 'e2e', 'astagewith16char'])('--stage %s is taken', async (stage) => {
    expect(await refusal('{}', stage)).toBe('taken');
  });

  test('a user sees the reason and no stack', () => {
    const { code, output } = packageService(serviceWith('{ "mlJion": "time" }', newFolder()));
    expect(code).toBe(1);
    expect(output).toMatch(/Error:\n.*unknown setting mlJion; expected one of mlJoin/);
    expect(output).not.toMatch(/^\s+at /m);
  });
});

describe('the bundle of the jobs', () => {
  test('holds every file that a job may read, and nothing else', () => {
    const names = Object.keys(unzipSync(bundle(path.join(PROJECT, 'glue'))));
    const read = globSync('*/*.{py,json,sql}', { cwd: path.join(PROJECT, 'glue') }).filter((name) => !name.startsWith('ddl/'));
    expect(read.length).toBeGreaterThan(40);
    expect(names.sort()).toEqual(read.sort());
  });

  test('is the same for the same content, and has another name when a model changes', () => {
    const folder = newFolder();
    cpSync(path.join(PROJECT, 'glue'), path.join(folder, 'glue'), { recursive: true });
    utimesSync(path.join(folder, 'glue/models/customer_trusted.sql'), 1, 1);
    expect(assetOf(folder, 'lakehouse')).toEqual(assetOf(PROJECT, 'lakehouse'));
    writeFileSync(path.join(folder, 'glue/models/customer_trusted.sql'), 'select 1');
    expect(assetOf(folder, 'lakehouse').name).not.toBe(assetOf(PROJECT, 'lakehouse').name);
  });
});

describe('jobs', () => {
  const jobs = new Template('default').ofType('AWS::Glue::Job').map(([, properties]) => properties);

  test('find the script and the bundle where they are uploaded', () => {
    for (const { Command, DefaultArguments } of jobs) {
      const place = 's3://ServerlessDeploymentBucket/serverless/stedi/dev/assets';
      expect(object(Command)['ScriptLocation']).toBe(`${place}/${assetOf(PROJECT, 'glue/job.py').name}`);
      expect(object(DefaultArguments)['--extra-py-files']).toBe(`${place}/${assetOf(PROJECT, 'lakehouse').name}`);
    }
  });

  test('start with the settings that session.py wants', () => {
    // Spark is not needed to get them, so what the module imports from it is made up.
    const script = `
import sys, types
pyspark, sql = types.ModuleType("pyspark"), types.ModuleType("pyspark.sql")
pyspark.SparkFiles = sql.SparkSession = object
sys.modules.update({"pyspark": pyspark, "pyspark.sql": sql})
from lakehouse import session
print(" --conf ".join(f"{name}={value}" for name, value in session.static_settings(sys.argv[1]).items()))`;
    for (const { DefaultArguments } of jobs) {
      const { '--conf': conf, '--lake': lake } = object(DefaultArguments);
      expect(conf).toBe(python(script, text(lake ?? '')));
    }
  });
});
