import { gzipSync } from 'node:zlib';
import { catalogFiles, landingTableOf, sniff } from '../../functions/core/catalogFile.ts';
import { temporaryWorlds } from '../support/world.ts';

const newWorld = temporaryWorlds();

test.each([
  ['customer_landing/a.json', 'customer_landing'],
  ['accelerometer_landing/2026/01/a.json', 'accelerometer_landing'],
  ['step_trainer_landing/.a', 'step_trainer_landing'],
  ['customer_landing/a//b', 'customer_landing'],
  ['customer_landing/', null],
  ['customer_landing/2026/', null],
  ['customer_landing', null],
  ['Customer_landing/a.json', null],
  ['customer_trusted/a.json', null],
  ['customer_landings/a.json', null],
  ['elsewhere/customer_landing/a.json', null],
  ['/customer_landing/a.json', null],
  ['a.json', null],
  ['', null],
])('the landing table of the key %j is %j', (key, table) => {
  expect(landingTableOf(key)).toBe(table);
});

describe('the first bytes', () => {
  const KNOWN = '{"email":"a@x.org","PHONE":1}';
  const DRIFTED = '{"email":"a@x.org","note":1,"Größe":2}';

  test.each([
    ['one object on a line', `${KNOWN}\n${DRIFTED}\n`, 'json', []],
    ['an object with fields nobody knows', `${DRIFTED}\n`, 'json', ['note']],
    ['no last line feed', DRIFTED, 'json', ['note']],
    ['a byte order mark', `\ufeff${DRIFTED}\n`, 'json', ['note']],
    ['blank lines first', `\n \r\n${DRIFTED}\r\n`, 'json', ['note']],
    ['commas and blanks', ` , ${DRIFTED} , \n`, 'json', ['note']],
    ['an array on one line', `[${DRIFTED}]`, 'json', ['note']],
    ['an array over lines', `[\n${DRIFTED},\n${KNOWN}\n]\n`, 'json', ['note']],
    ['a torn object', '{"email":"a@x', 'json', []],
    ['an empty object', '{}', 'json', []],
    ['names that name somebody', '{"ann@x.org":{},"Ann Miller":1,"note":2}', 'json', ['note']],
    ['text', 'hello\n', 'unknown', []],
    ['a page', '<html>\n', 'unknown', []],
    ['a number', '42\n', 'unknown', []],
    ['blanks only', ' \n\n', 'unknown', []],
    ['nothing', '', 'empty', []],
    ['gzip', gzipSync(DRIFTED), 'gzip', []],
    ['the first byte of gzip alone', Uint8Array.of(0x1f), 'unknown', []],
    ['bytes that are not UTF-8', Uint8Array.of(0xff, 0xfe, 0x00), 'unknown', []],
  ] as const)('%s', (_, content, format, unknownFields) => {
    expect(sniff('customer_landing', Buffer.from(content))).toEqual({ format, unknownFields });
  });

  test('may be blanks for the most part', () => {
    const blanks = Buffer.from(`{${' '.repeat(2_000_000)}x`);
    expect(sniff('customer_landing', blanks)).toEqual({ format: 'json', unknownFields: [] });
  });

  test('are judged by the contract of their own table', () => {
    expect(sniff('step_trainer_landing', Buffer.from('{"email":"a@x.org","serialnumber":"s"}')).unknownFields).toEqual(['email']);
  });
});

describe('cataloging a file', () => {
  test('records what it looks like and what its landing table did not know', async () => {
    const world = newWorld();
    const file = await world.land('customer_landing/a.json', '{"email":"a@x.org","Shoe-Size":43}\n');
    await catalogFiles(world.ports, [file]);
    expect(await world.files()).toMatchObject({
      'customer_landing/a.json': { ...file, state: 'pending', format: 'json', unknownFields: ['Shoe-Size'] },
    });
    expect(world.logged).toEqual(['file_registered', 'schema_drift']);
  });

  test('again changes nothing', async () => {
    const world = newWorld();
    const file = await world.land('customer_landing/a.json');
    for (let time = 0; time < 5; time += 1) await catalogFiles(world.ports, [file]);
    expect(await world.ledger.pending(10)).toHaveLength(1);
    expect(world.logged).toEqual(['file_registered', 'file_known', 'file_known', 'file_known', 'file_known']);
  });

  test('looks at the version that arrived, not at what stands there by now', async () => {
    const world = newWorld();
    const file = await world.land('customer_landing/a.json');
    const asked: unknown[] = [];
    const head = async (key: string, bytes: number, version?: string) => {
      asked.push([key, version]);
      return world.landing.head(key, bytes);
    };
    await catalogFiles({ ...world.ports, landing: { head } }, [file]);
    expect(asked).toEqual([[file.key, file.version]]);
  });

  test('gives columns names that a catalog takes', async () => {
    const world = newWorld();
    const asked: string[][] = [];
    const landingTables = { ensure: async (_: string, columns: readonly string[]) => void asked.push([...columns]) };
    const file = await world.land('customer_landing/a.json', '{"email":"a@x.org","Shoe-Size":43}\n');
    await catalogFiles({ ...world.ports, landingTables }, [file]);
    expect(asked).toEqual([['shoe_size']]);
  });

  test('that vanished is an error, and nothing is recorded', async () => {
    const world = newWorld();
    const file = await world.land('customer_landing/a.json');
    world.remove(file.key);
    expect(await catalogFiles(world.ports, [file])).toMatchObject([{ status: 'rejected' }]);
    expect(world.logged).toEqual(['catalog_failed']);
    expect(await world.states()).toEqual({});
  });
});

describe('cataloging several files', () => {
  const DRIFTED = (field: string) => `{"email":"a@x.org","${field}":1}\n`;

  test('asks for each landing table once, with the columns of all', async () => {
    const world = newWorld();
    const asked: unknown[] = [];
    const landingTables = { ensure: async (table: string, columns: readonly string[]) => void asked.push([table, columns]) };
    const files = [
      await world.land('customer_landing/a', DRIFTED('one')),
      await world.land('step_trainer_landing/b', '{}'),
      await world.land('customer_landing/c', DRIFTED('two')),
      await world.land('customer_landing/d', DRIFTED('one')),
    ];
    await catalogFiles({ ...world.ports, landingTables }, files);
    expect(asked).toEqual([
      ['customer_landing', ['one', 'two']],
      ['step_trainer_landing', []],
    ]);
    expect(Object.keys(await world.states())).toHaveLength(4);
  });

  test('whose landing table fails registers none of it, and the files of the others', async () => {
    const world = newWorld();
    const landingTables = {
      ensure: async (table: string) => {
        if (table === 'customer_landing') throw new Error('no table today');
      },
    };
    const files = [
      await world.land('customer_landing/a'),
      await world.land('step_trainer_landing/b'),
      await world.land('step_trainer_landing/gone'),
      await world.land('customer_landing/c'),
    ];
    world.remove('step_trainer_landing/gone');
    const outcomes = await catalogFiles({ ...world.ports, landingTables }, files);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected', 'rejected']);
    expect(Object.keys(await world.states())).toEqual(['step_trainer_landing/b']);
  });
});
