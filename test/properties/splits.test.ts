import { holdsForMany } from './many.ts';

holdsForMany('any order and any split of the same files gives identical tables', 150, 90, (lakes) => lakes.anyOrderAndSplit());
