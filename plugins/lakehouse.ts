import { readFileSync } from 'node:fs';
import path from 'node:path';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import type { S3ClientConfig } from '@aws-sdk/client-s3';
import { messageOf, UsageError } from '../functions/core/errors.ts';
import { parseSettings, settingAt, settingsJson, STAGE_NAME } from '../functions/core/settings.ts';
import type { Settings } from '../functions/core/settings.ts';
import { definitionHash } from '../local/projectFiles.ts';
import { assetOf } from './assets.ts';
import type { Asset } from './assets.ts';

/** What this plugin uses of the framework. */
interface Serverless {
  serviceDir: string;
  classes: { Error: new (message: string) => Error };
  service: { provider: { shouldNotDeploy?: boolean } };
  getProvider(name: 'aws'): {
    getStage(): string;
    getAwsSdkV3Config(): Promise<S3ClientConfig>;
    getServerlessDeploymentBucketName(): Promise<string>;
  };
}
interface Resolving {
  address?: string | null;
  resolveConfigurationProperty: (path: string[]) => Promise<unknown>;
  options: { stage?: string };
}
type Source = { resolve(resolving: Resolving): Promise<{ value: unknown }> };

/**
 * What serverless.yml needs from the project:
 *
 * - `${setting:name}`: a setting with its default; `settings.json` is checked before anything is packaged
 * - `${definition:}`: the hash of policies, models, counts and contracts, as on one machine
 * - `${asset:path}`: the key of a file in the deployment bucket, by content; it is uploaded before the stack changes
 */
export default class Lakehouse {
  readonly configurationVariablesSources: Record<'setting' | 'definition' | 'asset', Source>;
  readonly hooks: Record<string, () => Promise<void>>;
  readonly #serverless: Serverless;
  readonly #settings: Settings;
  readonly #assets = new Map<string, Asset>();

  constructor(serverless: Serverless, _options: unknown, { log }: { log: { notice(text: string): void } }) {
    this.#serverless = serverless;
    this.#settings = this.#readSettings();
    this.configurationVariablesSources = {
      setting: { resolve: async ({ address }) => ({ value: this.#setting(address ?? '') }) },
      definition: { resolve: async () => ({ value: definitionHash(this.#settings) }) },
      asset: { resolve: async (resolving) => ({ value: await this.#assetKey(resolving) }) },
    };
    this.hooks = {
      initialize: async () => this.#checkStage(),
      'after:aws:deploy:deploy:uploadArtifacts': async () => this.#upload((text) => log.notice(text)),
    };
  }

  #readSettings(): Settings {
    try {
      const text = readFileSync(path.join(this.#serverless.serviceDir, 'settings.json'), 'utf8');
      return parseSettings(settingsJson(text), 'settings.json');
    } catch (error) {
      // The framework's own class: others are shown with a stack trace.
      throw new this.#serverless.classes.Error(
        error instanceof UsageError ? error.message : `settings.json can't be read: ${messageOf(error)}`,
      );
    }
  }

  #checkStage(): void {
    const stage = this.#serverless.getProvider('aws').getStage();
    if (STAGE_NAME.test(stage)) return;
    throw new this.#serverless.classes.Error(
      `--stage ${stage}: expected a lowercase letter and then at most 15 lowercase letters and digits, because buckets and the database are named after it`,
    );
  }

  #setting(name: string): unknown {
    const value = settingAt(this.#settings, name.split('.'));
    if (value === undefined) throw new Error(`there is no setting ${name}`);
    return value;
  }

  async #assetKey({ address, options, resolveConfigurationProperty }: Resolving): Promise<string> {
    const asset = assetOf(this.#serverless.serviceDir, address ?? '');
    const service = String(await resolveConfigurationProperty(['service']));
    const stage = options.stage ?? String(await resolveConfigurationProperty(['provider', 'stage']));
    const key = `serverless/${service}/${stage}/assets/${asset.name}`;
    this.#assets.set(key, asset);
    return key;
  }

  async #upload(notice: (text: string) => void): Promise<void> {
    if (this.#serverless.service.provider.shouldNotDeploy === true) return;
    const provider = this.#serverless.getProvider('aws');
    const forcePathStyle = process.env['AWS_ENDPOINT_URL'] !== undefined; // a stand-in for AWS has no bucket host names
    const s3 = new S3Client({ ...(await provider.getAwsSdkV3Config()), forcePathStyle });
    const bucket = await provider.getServerlessDeploymentBucketName();
    for (const [key, { name, content }] of this.#assets) {
      await s3.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: content }));
      notice(`Uploaded ${name}`);
    }
  }
}
