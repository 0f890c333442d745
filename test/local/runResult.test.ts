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
  error: null,
  seconds: 1,
};

test.each([
  [10, /f9: why$/],
  [11, /f9: why\n {2}… and 1 more$/],
  [1_234, /f9: why\n {2}… and 1,224 more$/],
])('of %d files that wait ten are named, and how many more there are', (files, end) => {
  const waiting = Array.from({ length: files }, (_, at) => ({ file: `f${at}`, why: 'why' }));
  expect(troubles({ ...NOTHING, held: waiting, unread: waiting })).toEqual([
    expect.stringMatching(end),
    expect.stringMatching(end),
  ]);
});

test('of many files that gave nothing ten are named too', () => {
  const useless = Array.from({ length: 12 }, (_, at) => ({ file: `f${at}`, records: 1_234 }));
  expect(troubles({ ...NOTHING, useless })).toEqual([expect.stringMatching(/f9: 1,234 rejected\n {2}… and 2 more$/)]);
});

test.each([
  ['customer_landing/a.json', 1],
  ['accelerometer_landing/a.json', 0],
])('that withdrawals may wait is told where %s is held, from before too', (file, told) => {
  const held = [{ file, why: 'why' }];
  for (const waiting of [{ held }, { heldBefore: held }])
    expect(troubles({ ...NOTHING, ...waiting }).filter((text) => text.startsWith('A withdrawal'))).toHaveLength(told);
});

test('nothing to look at is nothing to tell', () => {
  expect(troubles(NOTHING)).toEqual([]);
});
