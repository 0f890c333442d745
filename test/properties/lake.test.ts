import { temporaryFolders } from '../support/folders.ts';
import { LakeProperties } from '../support/lakeProperties.ts';

const newFolder = temporaryFolders();
const many = (cases: number, seconds: number) => new LakeProperties(newFolder(), { cases, seconds });
const TIMEOUT = 10 * 60_000;

test('any order and any split of the same files gives identical tables', () => many(150, 150).anyOrderAndSplit(), TIMEOUT);
test('any number of files per run gives identical tables', () => many(25, 30).anyNumberOfFilesPerRun(), TIMEOUT);
test('the same file under a new name adds to landed, duplicate and rejected alone', () => many(50, 40).sameFileAgain(), TIMEOUT);
test('the order of lines decides nothing', () => many(400, 30).anyOrderOfLines(), TIMEOUT);
test('whatever bytes a file has, it is read as the reference reads it', () => many(2_000, 60).anyBytes(), TIMEOUT);
