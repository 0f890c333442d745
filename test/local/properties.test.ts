import { temporaryFolders } from '../support/folders.ts';
import { LakeProperties } from '../support/lakeProperties.ts';

// A few cases of each, always the same: what these find they find every time. `npm run test:properties` tries many others.
const newFolder = temporaryFolders();
const few = (cases: number) => new LakeProperties(newFolder(), { cases, seconds: Infinity, seed: 7 });
const TIMEOUT = 60_000;

test(
  'any order and any split of the same files gives identical tables',
  async () => void (await few(3).anyOrderAndSplit()),
  TIMEOUT,
);
test(
  'the same file under a new name adds to landed, duplicate and rejected alone',
  async () => void (await few(2).sameFileAgain()),
  TIMEOUT,
);
test('the order of lines decides nothing', async () => void (await few(12).anyOrderOfLines()), TIMEOUT);
test('whatever bytes a file has, it is read as the reference reads it', async () => void (await few(30).anyBytes()), TIMEOUT);
