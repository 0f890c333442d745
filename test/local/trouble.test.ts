import { LandingChangedError, TablesDamagedError } from '../../functions/core/errors.ts';
import { damageAtOpening, damageOf, saysFull, troubleWith } from '../../local/duckdb/trouble.ts';

const FILE = '/lakes/corruption-lab/lakehouse.duckdb';

describe('damage of the tables file is told by what an error says, not by what it quotes:', () => {
  test.each([
    [`IO Error: Cannot open file "${FILE}": Permission denied`, false],
    ['IO Error: Cannot open file "/disk is full/lakehouse.duckdb": No such file or directory', false],
    [`IO Error: The file "${FILE}" exists, but it is not a valid DuckDB database file!`, true],
  ])('to open it: %s', (text, damaged) => {
    expect(damageAtOpening(FILE, new Error(text)) instanceof TablesDamagedError).toBe(damaged);
    expect(saysFull(new Error(text))).toBe(false);
  });

  test.each([
    [`IO Error: Corrupt database file: computed checksum 1 does not match stored checksum 2 in block at location 4096`, true],
    [`IO Error: Could not read enough bytes from file "${FILE}": attempted to read 262144 bytes from location 12288`, true],
    ['IO Error: Could not read enough bytes from file "/lakes/corruption-lab/landing/customer_landing/a.json"', false],
    [
      `Conversion Error: Could not convert string 'not read enough bytes' to INT32\n\nLINE 1: select 'Corrupt database file'::int`,
      false,
    ],
    ['Binder Error: Referenced column "Corrupt database file" not found in FROM clause!', false],
  ])('with it open: %s', (text, damaged) => {
    expect(damageOf(FILE, new Error(text)) instanceof TablesDamagedError).toBe(damaged);
  });
});

test('an error that has a name already stays what it is, whatever the file is called that it speaks of', () => {
  const changed = new LandingChangedError('customer_landing/disk is full.json was overwritten; start a new run');
  expect(troubleWith(FILE, changed)).toBeNull();
});

test.each([
  'IO Error: Could not write file "/x/lakehouse.duckdb": No space left on device',
  "Out of Memory Error: failed to offload data block of size 256.0 KiB (0 bytes/0 bytes used).\nThis limit was set by the 'max_temp_directory_size' setting.",
  'database or disk is full',
])('a full disk, in the words of DuckDB and SQLite: %s', (text) => {
  expect(troubleWith(FILE, new Error(text))?.message).toMatch(/free space, then run again/);
});
