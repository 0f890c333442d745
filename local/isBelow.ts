import path from 'node:path';

/** Whether a path is a folder, or is somewhere in it, by its name: of links, ask with what they lead to. */
export function isBelow(folder: string, file: string): boolean {
  return !path.relative(folder, file).split(path.sep).includes('..');
}
