import path from 'node:path';

/** Whether a path is a folder or lies somewhere in it, judged by name: for a link, pass its target. */
export function isBelow(folder: string, file: string): boolean {
  return !path.relative(folder, file).split(path.sep).includes('..');
}
