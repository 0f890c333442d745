import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { PROJECT } from './service.ts';

const CACHE = path.join(PROJECT, '.cache/emulator');
export const REGION = 'us-east-1';
export const ACCOUNT = '000000000000';

/** How long it may take to answer: it is Python, and other tests may have the CPU. */
const START_SECONDS = 60;

export interface EmulatorOptions {
  /** Whether the emulator enforces the roles of functions and jobs; root is test/test. */
  rolesEnforced?: boolean;
  /** The command that runs a Glue job, in the project's folder; `python` is the emulator's. Without one every job succeeds at once. */
  glueRunner?: readonly string[];
  /** Factor for the seconds of Wait states. */
  waitScale?: number;
  /** More environment for it, and for the functions and jobs it runs. */
  environment?: NodeJS.ProcessEnv;
}

export interface Emulator {
  endpoint: string;
  /** Where a Glue runner keeps what it needs; jobs find it in STEDI_GLUE_FOLDER. */
  glueFolder: string;
  /** What a process needs to talk to this emulator instead of AWS. */
  environment: Record<string, string>;
  /** What an SDK client needs. */
  client: { region: string; endpoint: string; credentials: { accessKeyId: string; secretAccessKey: string } };
  /** What it has said so far. */
  log(): string;
  /** Ends it and what it started, and removes its folder. */
  stop(): Promise<void>;
}

/**
 * Starts an AWS emulator of one's own: on a free port of this machine alone, in a temporary folder. It ends with `stop`, and also when this
 * process ends otherwise. The first call on a machine installs it, which takes a minute.
 */
export async function startEmulator(options: EmulatorOptions = {}): Promise<Emulator> {
  await install();
  const folder = mkdtempSync(path.join(tmpdir(), 'stedi-emulator-'));
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const logFile = path.join(folder, 'emulator.log');
  const glueFolder = path.join(folder, 'glue');
  mkdirSync(glueFolder);
  const output = openSync(logFile, 'a');
  const child = spawn(path.join(CACHE, 'venv/bin/python'), [path.join(PROJECT, 'test/emulator/launcher.py')], {
    cwd: PROJECT,
    stdio: ['ignore', output, output],
    env: { ...process.env, ...environmentOf(options, folder, glueFolder, port), ...options.environment },
  });
  closeSync(output);
  const log = () => readFileSync(logFile, 'utf8');
  try {
    await untilReady(child, endpoint, log);
  } catch (error) {
    await end(child, folder);
    throw error;
  }
  return {
    endpoint,
    glueFolder,
    environment: {
      AWS_ENDPOINT_URL: endpoint,
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
      AWS_REGION: REGION,
      AWS_DEFAULT_REGION: REGION,
    },
    client: { region: REGION, endpoint, credentials: { accessKeyId: 'test', secretAccessKey: 'test' } },
    log,
    stop: () => end(child, folder),
  };
}

async function install(): Promise<void> {
  await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', 'cache=$1; . test/emulator/prepare', 'prepare', CACHE], {
    cwd: PROJECT,
  });
}

function environmentOf(options: EmulatorOptions, folder: string, glueFolder: string, port: number): NodeJS.ProcessEnv {
  // Functions run with the first Node on the path, which must be the one they are deployed for.
  const node = path.join(path.dirname(createRequire(import.meta.url).resolve('node/package.json')), 'bin');
  const { glueRunner = ['true'], rolesEnforced = false, waitScale = 1 } = options;
  return {
    PATH: [path.join(CACHE, 'venv/bin'), node, process.env['PATH']].join(':'),
    STEDI_EMULATOR_PARENT: String(process.pid),
    BIND_HOST: '127.0.0.1',
    GATEWAY_PORT: String(port),
    MINISTACK_REGION: REGION,
    PERSIST_STATE: '0',
    S3_PERSIST: '0',
    TMPDIR: folder,
    STATE_DIR: path.join(folder, 'state'),
    S3_DATA_DIR: path.join(folder, 's3'),
    LAMBDA_ASYNC_RETRY_BASE_SECONDS: '1',
    SFN_WAIT_SCALE: String(waitScale),
    GLUE_RUNNER: glueRunner.join(' '),
    GLUE_LOG_DIR: glueFolder,
    STEDI_GLUE_FOLDER: glueFolder,
    ...(rolesEnforced ? { AUTH: 'true' } : {}),
  };
}

async function untilReady(child: ChildProcess, endpoint: string, log: () => string): Promise<void> {
  const deadline = Date.now() + START_SECONDS * 1000;
  while (Date.now() < deadline && child.exitCode === null && child.signalCode === null) {
    const answer = await fetch(`${endpoint}/_ministack/health`).catch(() => null);
    // Another program may answer on this port; it is ours only while our own process lives.
    if (answer?.ok === true && child.exitCode === null) return;
    await wait(100);
  }
  throw new Error(`the emulator did not start within ${START_SECONDS} s:\n${log().slice(-4000)}`);
}

async function end(child: ChildProcess, folder: string): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once('exit', () => resolve());
  });
  child.kill('SIGTERM');
  const inTime = await Promise.race([ended.then(() => true), wait(10_000, false, { ref: false })]);
  if (!inTime) {
    child.kill('SIGKILL');
    await ended;
  }
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port on this machine');
  return address.port;
}
