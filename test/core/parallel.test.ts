import { setTimeout as wait } from 'node:timers/promises';
import { chunked, inParallel } from '../../functions/core/parallel.ts';

describe('working on all items', () => {
  test('answers in their order, a bounded number at a time', async () => {
    let [running, most] = [0, 0];
    const results = await inParallel(
      Array.from({ length: 30 }, (_, at) => at),
      async (at) => {
        most = Math.max(most, (running += 1));
        await wait((30 - at) % 7);
        running -= 1;
        return at * 2;
      },
      4,
    );
    expect(results).toEqual(Array.from({ length: 30 }, (_, at) => at * 2));
    expect(most).toBe(4);
  });

  test('ends with the first failure, once what was under way has ended', async () => {
    const done: number[] = [];
    const work = inParallel(
      [1, 2, 3, 4, 5, 6],
      async (item) => {
        await wait(item === 1 ? 1 : 10);
        if (item === 1) throw new Error('broken');
        done.push(item);
      },
      3,
    );
    await expect(work).rejects.toThrow('broken');
    expect(done).toEqual([2, 3]);
  });

  test('of nothing is nothing', async () => {
    expect(await inParallel([], async () => 1)).toEqual([]);
  });
});

test('parts hold everything once, in order', () => {
  expect(chunked([1, 2, 3, 4, 5], 2)).toEqual([[1, 2], [3, 4], [5]]);
  expect(chunked([], 2)).toEqual([]);
});
