import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { manifestSchema, readRunFile } from '../functions/core/runFiles.ts';
import type { Policies } from '../functions/core/settings.ts';
import type { RunFiles } from '../functions/ports.ts';
import { isMissing } from './systemErrors.ts';

/** `runs/<runId>/` as folders. A file appears whole or not at all, even if the machine loses power. */
export class FolderRunFiles implements RunFiles {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  folderOf(runId: string): string {
    return path.join(this.#root, runId);
  }

  async write(runId: string, name: string, text: string): Promise<void> {
    const file = path.join(this.folderOf(runId), name);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(`${file}.part`, text, { flush: true });
    await rename(`${file}.part`, file);
  }

  async read(runId: string, name: string): Promise<string | null> {
    try {
      return await readFile(path.join(this.folderOf(runId), name), 'utf8');
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }
}

/** The policies that a run was planned with; null if its manifest is lost. */
export async function policiesOf(runFiles: RunFiles, runId: string): Promise<Policies | null> {
  return (await readRunFile(runFiles, runId, 'manifest.json', manifestSchema))?.policies ?? null;
}
