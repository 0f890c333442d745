import fc from 'fast-check';
import {
  fileOf,
  inByteOrder,
  memoryItem,
  memoryOf,
  newFileItem,
  pkOf,
  positionOf,
  queueOf,
  fieldList,
} from '../../functions/aws/ledgerItems.ts';

const text = (longest: number) =>
  fc.string({ unit: 'binary', minLength: 1, maxLength: longest }).map((each) => each.replaceAll('\0', ''));
const version = fc.stringMatching(/^[A-Za-z0-9._-]{1,40}$/);

const SINCE = '2026-01-02T03:04:05.000Z';
const positionThen = (file: { key: string; version: string }) => positionOf(file, SINCE);

test('positions sort as the time since which a file waits', () => {
  const file = { key: 'a', version: 'v' };
  expect(inByteOrder(positionOf({ ...file, key: 'b' }, SINCE), positionOf(file, '2026-01-02T03:04:05.001Z'))).toBeLessThan(0);
});

test('positions of customers sort before those of readings that have waited longer', () => {
  const [motions, customers] = ['accelerometer_landing/a', 'customer_landing/a'].map((key) => ({ key, version: 'v' }));
  if (motions === undefined || customers === undefined) throw new Error('two files');
  expect(inByteOrder(positionOf(customers, '2026-01-02T03:04:05.001Z'), positionOf(motions, SINCE))).toBeLessThan(0);
});

test('positions of one time sort as key and then version, by their bytes', () => {
  const byKey = (one: [string, string], other: [string, string]) =>
    Buffer.compare(Buffer.from(one[0]), Buffer.from(other[0])) || Buffer.compare(Buffer.from(one[1]), Buffer.from(other[1]));
  fc.assert(
    fc.property(fc.array(fc.tuple(text(20), version), { minLength: 2, maxLength: 20 }), (files) => {
      const sorted = [...files].sort(byKey);
      const positions = files.map(([key, id]) => positionThen({ key, version: id })).sort(inByteOrder);
      expect(positions).toEqual(sorted.map(([key, id]) => positionThen({ key, version: id })));
    }),
  );
});

test('keys and positions are never longer than DynamoDB takes, and different files have different ones', () => {
  fc.assert(
    fc.property(text(700), text(700), fc.stringMatching(/^[a-z]{1,1024}$/), (one, other, id) => {
      fc.pre(one !== other);
      for (const name of [pkOf, positionThen]) {
        const [first, second] = [name({ key: one, version: id }), name({ key: other, version: id })];
        expect(first).not.toBe(second);
        expect(Buffer.byteLength(first)).toBeLessThanOrEqual(name === pkOf ? 2048 : 1024);
      }
    }),
  );
});

test('a position that is too long is cut between characters', () => {
  for (let length = 960; length < 1030; length += 1) {
    const position = positionThen({ key: `${'a'.repeat(length)}${'日😀'.repeat(30)}`, version: 'v' });
    expect(Buffer.byteLength(position)).toBeLessThanOrEqual(1024);
    expect(position.includes('\ufffd')).toBe(false);
  }
});

test('a position counts in bytes, of which a character may have three', () => {
  const position = positionThen({ key: '日'.repeat(330), version: 'v'.repeat(32) });
  expect(Buffer.byteLength(position)).toBeLessThanOrEqual(1024);
});

test('a queue has 16 parts of about the same size', () => {
  const sizes = new Map<string, number>();
  for (let at = 0; at < 3_200; at += 1) {
    const queue = queueOf('pending', pkOf({ key: `customer_landing/2026-01-01-${at}.json`, version: `v${at}` }));
    sizes.set(queue, (sizes.get(queue) ?? 0) + 1);
  }
  expect([...sizes.keys()].sort()).toEqual(Array.from({ length: 16 }, (_, shard) => `pending#${shard}`).sort());
  expect(Math.min(...sizes.values())).toBeGreaterThan(140);
});

test('a new file comes back from its item as it was', () => {
  const file = {
    table: 'customer_landing',
    key: 'customer_landing/a#b.json',
    version: 'v1',
    size: 5_000_000_000,
    format: 'gzip',
    unknownFields: ['Größe', 'a"b'],
  } as const;
  expect(fileOf(newFileItem({ ...file, unknownFields: [...file.unknownFields] }, '2026-01-02T03:04:05.000Z'))).toEqual({
    ...file,
    state: 'pending',
    runId: null,
    attempts: 0,
    why: null,
    counts: null,
    arrivedAt: '2026-01-02T03:04:05.000Z',
    waitsSince: '2026-01-02T03:04:05.000Z',
  });
});

test('what is kept in mind comes back from its item as it was', () => {
  const tried = { definition: 'abc', runs: 2 };
  for (const memory of [
    { tried, listedTo: 'customer_landing/a', checking: '2026-01-02T03:04:05.000Z', checked: '2026-01-01T03:04:05.000Z' },
    { tried, listedTo: null, checking: null, checked: '2026-01-01T03:04:05.000Z' },
    { tried: null, listedTo: 'b', checking: null, checked: null },
  ])
    expect(memoryOf(memoryItem(memory))).toEqual(memory);
  expect(memoryOf({})).toEqual({ tried: null, listedTo: null, checking: null, checked: null });
});

test('of fields without end the first ones are kept', () => {
  const { L = [] } = fieldList(Array.from({ length: 50_000 }, (_, at) => `f${at}`));
  expect(L.length).toBeGreaterThan(2_000);
  expect(L.length).toBeLessThan(5_000);
  expect(L[0]).toEqual({ S: 'f0' });
});
