import { rmSync } from 'node:fs';
import path from 'node:path';
import { projectSettings, serviceWith } from '../support/service.ts';
import { cacheFolder, packageService } from './service.ts';

/** The template is checked as it comes, with the settings that add to it, and with the parameters that leave something out. */
const VARIANTS = {
  default: { aws: {}, parameters: [] },
  vpc: { aws: { network: 'vpc', alertEmail: 'alerts@example.org', landingDays: 400 }, parameters: [] },
  least: { aws: { landingVersionDays: 0 }, parameters: ['data=kept', 'emulator=yes'] },
} as const;
export type Variant = keyof typeof VARIANTS;

/** Packages every variant once, before the tests. */
export default function packageVariants(): void {
  for (const [variant, { aws, parameters }] of Object.entries(VARIANTS)) {
    const folder = path.join(cacheFolder(), variant);
    rmSync(folder, { recursive: true, force: true });
    const service = serviceWith(JSON.stringify({ ...projectSettings(), aws }), folder);
    const { code, output } = packageService(service, ...parameters.flatMap((each) => ['--param', each]));
    if (code !== 0) throw new Error(`serverless package, variant ${variant}, ended with ${code}:\n${output}`);
  }
}
