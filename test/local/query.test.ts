import { readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { z } from 'zod';
import { lakePaths } from '../../local/lakePaths.ts';
import { valueOf } from '../support/commandLine.ts';
import { temporaryFolders } from '../support/folders.ts';
import { landAll, stedi } from '../support/lake.ts';
import { AT, customer, lines, motion } from '../support/people.ts';

const newFolder = temporaryFolders();
const PROJECT = fileURLToPath(new URL('../../', import.meta.url));

describe('query reads the landing files as they are', () => {
  const lake = newFolder();
  const record = (at: number): string => motion('ann@x.org', AT + at);
  const outside = path.join(newFolder(), 'elsewhere.json');
  writeFileSync(outside, lines(record(60)));
  const odd: Record<string, { content: string | Uint8Array; read: number[]; nulls?: number }> = {
    'lines.json': { content: lines(record(1), record(2)), read: [1, 2] },
    'one*[name]?.json': { content: record(3), read: [3] },
    'several.json': { content: `${record(4)}${record(5)} , ${record(6)}\r\n`, read: [4, 5, 6] },
    'array.json': { content: `[${record(7)},${record(8)}]`, read: [7, 8] },
    'array-over-lines.json': { content: `\ufeff[\n${record(9)},\n${record(10)}\n]\n`, read: [9, 10] },
    'printed.json': { content: JSON.stringify(JSON.parse(record(11)), null, 2), read: [], nulls: 7 },
    'broken.json': { content: lines(record(12), 'rubbish', record(13).slice(0, 20), '7'), read: [12], nulls: 3 },
    'bytes.json': { content: Uint8Array.from({ length: 4000 }, (_, at) => 128 + (at % 100)), read: [] },
    'zipped-by-content.json': { content: gzipSync(lines(record(14))), read: [14] },
    'zipped-by-name.json.gz': { content: lines(record(15)), read: [15] },
    'cut.json.gz': { content: gzipSync(lines(...Array.from({ length: 500 }, (_, at) => record(at)))).subarray(0, 20), read: [] },
    'members.json.gz': {
      content: Buffer.concat([storedMember(record(18), 32_754), gzipSync(lines(record(19)))]),
      read: [18, 19],
    },
    'padded.json.gz': { content: Buffer.concat([gzipSync(lines(record(20))), Buffer.alloc(5)]), read: [20] },
    'no-gzip.json.gz': { content: Uint8Array.of(0x1f, 0x8b, 0, 0, 0, 0, 0, 0, 0, 0), read: [] },
    'begun.json.gz': { content: Uint8Array.of(0x1f, 0x8b), read: [] },
    'empty.json': { content: '', read: [] },
    'timestamp=5/x=6/in-a-folder.json': { content: record(17), read: [17] },
    'writing.json.part': { content: lines(record(16)), read: [] },
  };

  test('every file that is listed, in any layout; an odd one makes no table unreadable', async () => {
    landAll(
      lake,
      Object.fromEntries(Object.entries(odd).map(([name, { content }]) => [`accelerometer_landing/${name}`, content])),
    );
    symlinkSync(outside, path.join(lake, 'landing', 'accelerometer_landing', 'linked.json'));
    expect((await stedi('run', '--lake', lake)).code).toBe(0);
    const found = await stedi('query', 'select "timestamp"::BIGINT as at from accelerometer_landing', '--lake', lake, '--json');
    for (const name of ['cut', 'no-gzip', 'begun'])
      expect(found.stderr).toContain(`Left out: accelerometer_landing/${name}.json.gz is not a whole gzip file`);
    const times = valueOf(found, z.array(z.strictObject({ at: z.int().nullable() }))).map(({ at }) => at);
    const read = Object.values(odd).flatMap((each) => each.read);
    expect(times.filter((at) => at !== null).sort()).toEqual([...read, 60].map((at) => AT + at).sort());
    const nulls = Object.values(odd).reduce((sum, each) => sum + (each.nulls ?? 0), 0);
    expect(times.filter((at) => at === null).length).toBeGreaterThanOrEqual(nulls);
  });

  test.each(['audits/step_trainer_trusted_holders', 'counts/withheld_step_trainer', 'models/customer_trusted'])(
    "the project's own SQL, with the policies and the people of the published run: %s",
    async (name) => {
      const sql = readFileSync(path.join(PROJECT, 'glue', `${name}.sql`), 'utf8');
      expect(valueOf(await stedi('query', sql, '--lake', lake, '--json'), z.unknown())).toEqual([]);
    },
  );

  test('a line that is longer than any buffer is left out', async () => {
    const folder = newFolder();
    landAll(folder, { 'customer_landing/ann.json': customer({ email: 'ann@x.org' }) });
    expect((await stedi('run', '--lake', folder)).code).toBe(0);
    const long = path.join(folder, 'landing', 'customer_landing', 'long.json');
    writeFileSync(long, '');
    truncateSync(long, 300 * 1024 * 1024);
    const found = await stedi('query', 'select count(*)::INT as people from customer_landing', '--lake', folder, '--json');
    expect(valueOf(found, z.unknown())).toEqual([{ people: 1 }]);
  });

  test('shows columns that files brought besides, in whatever case; a lake without its ledger shows those of the contract', async () => {
    const folder = newFolder();
    const person = JSON.parse(customer({ email: 'ann@x.org' })) as object;
    landAll(folder, {
      'customer_landing/one.json': JSON.stringify({ ...person, nickName: 'Annie' }),
      'customer_landing/two.json': JSON.stringify({ ...person, nickname: 'Nan', shoe_size: 38 }),
    });
    expect((await stedi('run', '--lake', folder)).code).toBe(0);
    const sql = 'select nickname, shoe_size from customer_landing order by 1';
    expect(valueOf(await stedi('query', sql, '--lake', folder, '--json'), z.unknown())).toEqual([
      { nickName: 'Annie', shoe_size: null },
      { nickName: 'Nan', shoe_size: '38' },
    ]);
    rmSync(lakePaths(folder).ledger);
    const found = await stedi('query', 'select count(email) as people from customer_landing', '--lake', folder, '--json');
    expect(valueOf(found, z.unknown())).toEqual([{ people: 2 }]);
    expect((await stedi('query', sql, '--lake', folder)).stderr).toMatch(/nickname/);
  });

  test('a table without a file is empty', async () => {
    const found = await stedi(
      'query',
      'select count("serialNumber") as devices from step_trainer_landing',
      '--lake',
      lake,
      '--json',
    );
    expect(valueOf(found, z.unknown())).toEqual([{ devices: 0 }]);
  });

  test('nothing else on the machine', async () => {
    const { code, stderr } = await stedi('query', `from read_json('${PROJECT}package.json')`, '--lake', lake);
    expect(code).toBe(2);
    expect(stderr).toMatch(/Permission Error/);
  });
});

/** A record in a gzip member of so many bytes. Behind one that ends 14 bytes before a multiple of 32 KiB, DuckDB 1.5 reads nothing. */
function storedMember(record: string, bytes: number): Buffer {
  const empty = gzipSync(lines(record), { level: 0 });
  const member = gzipSync(lines(record + ' '.repeat(bytes - empty.length)), { level: 0 });
  expect(member).toHaveLength(bytes);
  return member;
}
