import { rmSync } from 'node:fs';
import path from 'node:path';
import { cacheFolder, packageService, projectSettings, serviceWith } from './service.ts';

/** The template is looked at as it comes, and with the settings that add to it. */
export const VARIANTS = {
  default: {},
  vpc: { network: 'vpc', alertEmail: 'alerts@example.org', landingDays: 400 },
} as const;
export type Variant = keyof typeof VARIANTS;

/** Packages every variant once, before the tests. */
export default function packageVariants(): void {
  for (const [variant, aws] of Object.entries(VARIANTS)) {
    const folder = path.join(cacheFolder(), variant);
    rmSync(folder, { recursive: true, force: true });
    const { code, output } = packageService(serviceWith(JSON.stringify({ ...projectSettings(), aws }), folder));
    if (code !== 0) throw new Error(`serverless package, variant ${variant}, ended with ${code}:\n${output}`);
  }
}
