import { figure } from '../functions/core/textTable.ts';

const NAMED = 10;

/** A title, and below it what it is about: at most ten, and how many more there are. `--json` has all. */
export function listed(title: string, things: readonly string[]): string {
  const lines = things.slice(0, NAMED);
  if (things.length > NAMED) lines.push(`… and ${figure(things.length - NAMED)} more`);
  return `${title}:\n  ${lines.join('\n  ')}`;
}

/** A landing file, and why it is listed. */
export interface FileAndWhy {
  file: string;
  why: string;
}

/** The same for files, each with its reason. */
export function listedWithReasons(title: string, files: readonly FileAndWhy[]): string {
  return listed(
    title,
    files.map(({ file, why }) => `${file}: ${why}`),
  );
}
