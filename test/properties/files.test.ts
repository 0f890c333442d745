import { holdsForMany } from './many.ts';

holdsForMany('any number of files per run gives identical tables', 30, 20, (lakes) => lakes.anyNumberOfFilesPerRun());
holdsForMany('the same file under a new name adds to landed, duplicate and rejected alone', 60, 20, (lakes) =>
  lakes.sameFileAgain(),
);
holdsForMany('the order of lines decides nothing', 500, 15, (lakes) => lakes.anyOrderOfLines());
holdsForMany('whatever bytes a file has, it is read as the reference reads it', 2_000, 35, (lakes) => lakes.anyBytes());
