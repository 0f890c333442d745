import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import path from 'node:path';

/**
 * Loaded before `stedi` (`node --import`): kills the process right after the operation on a file that the variable KILL_AFTER names,
 * such as `renameSync lakehouse.duckdb`: a file or folder moved from elsewhere under the same name. When a folder is removed
 * (`rmSync rebuild`), the kill comes when only an empty file is left in it, which is as bad as it can be.
 */
const [operation = '', name = ''] = (process.env['KILL_AFTER'] ?? '').split(' ');

function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

const { renameSync, rmSync, writeFileSync } = fs;

Object.assign(fs, {
  renameSync: (from: fs.PathLike, to: fs.PathLike) => {
    renameSync(from, to);
    const moved = path.basename(String(to));
    if (operation === 'renameSync' && moved.startsWith(name) && moved === path.basename(String(from))) die();
  },
  writeFileSync: (file: string, text: string) => {
    writeFileSync(file, text);
    if (operation === 'writeFileSync' && path.basename(file) === name) die();
  },
  rmSync: (file: string, options?: fs.RmOptions) => {
    if (operation === 'rmSync' && path.basename(file) === name && fs.existsSync(path.join(file, 'ledger.sqlite'))) {
      for (const entry of fs.readdirSync(file, { withFileTypes: true })) {
        const each = path.join(file, entry.name);
        if (entry.isDirectory() || fs.statSync(each).size > 0) rmSync(each, { recursive: true });
      }
      die();
    }
    rmSync(file, options);
  },
});
syncBuiltinESMExports();
