import { createHash } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { zipSync } from 'fflate';

/** A file that the stack's resources read from the deployment bucket; its name holds the hash of its content. */
export interface Asset {
  name: string;
  content: Uint8Array;
}

/** What the bundle of the Glue jobs holds, below `glue/`. Settings are not in it: a job learns its run's policies from the manifest. */
const BUNDLED = ['lakehouse/*.py', 'tables/*.json', 'models/*.sql', 'audits/*.sql', 'counts/*.sql', 'excepted/*.sql'];
const EARLIEST = new Date(1980, 0, 1); // the first day that a zip can name; the current time would give the bundle a new name each time
const UNIX = 3;
const READABLE_FILE = 0o644 << 16;

/** `lakehouse` is the bundle of the Glue jobs; any other address is a file's path in the project. */
export function assetOf(project: string, address: string): Asset {
  if (address === 'lakehouse') return named('lakehouse', '.zip', bundle(path.join(project, 'glue')));
  const { name, ext } = path.parse(address);
  return named(name, ext, readFileSync(path.join(project, address)));
}

/** The bundle of the Glue jobs. Nothing is compressed: the result may differ between versions of zlib, and with it the name. */
export function bundle(glue: string): Uint8Array {
  const names = BUNDLED.flatMap((pattern) => globSync(pattern, { cwd: glue }).sort());
  const files = names.map((name) => [name.split(path.sep).join('/'), readFileSync(path.join(glue, name))] as const);
  return zipSync(Object.fromEntries(files), { level: 0, mtime: EARLIEST, os: UNIX, attrs: READABLE_FILE });
}

function named(name: string, extension: string, content: Uint8Array): Asset {
  const hash = createHash('sha256').update(content).digest('hex').slice(0, 16);
  return { name: `${name}-${hash}${extension}`, content };
}
