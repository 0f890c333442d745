import type { FileVersion } from '../ports.ts';
import type { LandingTable } from './steps.ts';

/** The landing table whose files are claimed first, however long others have waited: a withdrawal must not queue behind readings. */
export const CLAIMED_FIRST: LandingTable = 'customer_landing';

/** A file version's name: no two are the same. */
export function versionName({ key, version }: Pick<FileVersion, 'key' | 'version'>): string {
  return `${key} ${version}`;
}

/** File versions sorted by table, key, version, by their bytes; keys begin with their table. */
export function inOrder<T extends Pick<FileVersion, 'key' | 'version'>>(files: readonly T[]): T[] {
  return files
    .map((file) => ({ file, name: Buffer.from(`${file.key}\0${file.version}`) }))
    .sort((one, other) => Buffer.compare(one.name, other.name))
    .map(({ file }) => file);
}
