import { noTotals, troubles } from '../../local/views/runResult.ts';
import type { RunResult } from '../../local/views/runResult.ts';

const NOTHING: RunResult = {
  status: 'FAILED',
  runs: [],
  ...noTotals('person-and-time'),
  loaded: { landed: 0, staged: 0, duplicate: 0, rejected: 0 },
  held: [],
  heldBefore: [],
  useless: [],
  unread: [],
  expectations: [],
  seconds: 1,
};

test.each([
  [10, /f9: why$/],
  [11, /f9: why\n {2}… and 1 more$/],
  [1_234, /f9: why\n {2}… and 1,224 more$/],
])('of %d held files ten are named, and how many more there are', (files, end) => {
  const held = Array.from({ length: files }, (_, at) => ({ file: `f${at}`, why: 'why' }));
  expect(troubles({ ...NOTHING, held })).toEqual([expect.stringMatching(end)]);
});

test('nothing to look at is nothing to tell', () => {
  expect(troubles(NOTHING)).toEqual([]);
});
