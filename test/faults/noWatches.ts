import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

/** Loaded before `stedi` (`node --import`): the system watches no more files, as if `fs.inotify.max_user_watches` were used up. */
Object.assign(fs, {
  watch: () => {
    throw Object.assign(new Error('ENOSPC: System limit for number of file watchers reached'), { code: 'ENOSPC' });
  },
});
syncBuiltinESMExports();
