import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseSettings } from '../../functions/core/settings.ts';
import type { Settings } from '../../functions/core/settings.ts';
import { LocalHome } from '../../local/home.ts';
import type { HomeOptions } from '../../local/home.ts';
import type { LandedFile } from '../reference/index.ts';
import { temporaryFolders } from './folders.ts';

/** The default settings, but for these. */
export function settingsWith(changed: Record<string, unknown> = {}): Settings {
  return parseSettings(changed, 'the test');
}

/** Lakes in temporary folders for the tests of one file. */
export function temporaryLakes() {
  const newFolder = temporaryFolders();
  const homes = new Set<LocalHome>();
  afterEach(() => {
    for (const home of homes) home.close();
    homes.clear();
  });
  return (settings: Settings = settingsWith(), options: Partial<HomeOptions> = {}): LocalHome => {
    const home = new LocalHome({ folder: newFolder(), settings, ...options });
    homes.add(home);
    return home;
  };
}

/** Writes a file into the landing folder. */
export function land(home: LocalHome, key: string, content: string | Uint8Array): void {
  const file = home.landing.pathOf(key);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, content);
}

/** Runs until nothing is pending; returns the runs that ended. */
export async function runPending(home: LocalHome): Promise<LocalHome['ended']> {
  const before = home.ended.length;
  await home.announceLanding();
  await home.reconcile();
  await home.executions.drain();
  return home.ended.slice(before);
}

/** Everything in the landing folder, with the versions it has there. */
export async function landedFiles(home: LocalHome): Promise<LandedFile[]> {
  const files: LandedFile[] = [];
  for await (const page of home.landing.list())
    for (const { table, key, version } of page)
      files.push({ table, key, version, bytes: readFileSync(home.landing.pathOf(key)) });
  return files;
}
