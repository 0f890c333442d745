import { temporaryFolders } from '../support/folders.ts';
import { LakeProperties } from '../support/lakeProperties.ts';

const newFolder = temporaryFolders();
const TIMEOUT = 10 * 60_000;

/** Up to so many cases in so many seconds; says how many they were. */
async function many(cases: number, seconds: number, property: (lakes: LakeProperties) => Promise<number>): Promise<void> {
  const tried = await property(new LakeProperties(newFolder(), { cases, seconds }));
  console.log(`${expect.getState().currentTestName ?? ''}: ${tried} cases`);
  expect(tried).toBeGreaterThan(0);
}

test(
  'any order and any split of the same files gives identical tables',
  () => many(150, 70, (lakes) => lakes.anyOrderAndSplit()),
  TIMEOUT,
);
test(
  'any number of files per run gives identical tables',
  () => many(30, 15, (lakes) => lakes.anyNumberOfFilesPerRun()),
  TIMEOUT,
);
test(
  'the same file under a new name adds to landed, duplicate and rejected alone',
  () => many(60, 20, (lakes) => lakes.sameFileAgain()),
  TIMEOUT,
);
test('the order of lines decides nothing', () => many(500, 15, (lakes) => lakes.anyOrderOfLines()), TIMEOUT);
test(
  'whatever bytes a file has, it is read as the reference reads it',
  () => many(2_000, 30, (lakes) => lakes.anyBytes()),
  TIMEOUT,
);
