import { DuckDBInstance } from '@duckdb/node-api';
import type { DuckDBConnection } from '@duckdb/node-api';
import { landingContractOf } from '../../functions/core/contracts.ts';
import type { LandingContract } from '../../functions/core/contracts.ts';
import { removeDuplicates } from '../../local/duckdb/duplicates.ts';

// A contract that has gained a column: `note` is not part of the identity.
const { columns, ...rest } = landingContractOf('customer_landing');
const contract: LandingContract = {
  ...rest,
  identity: ['email'],
  columns: columns
    .filter(({ name }) => name === 'email')
    .concat({ name: 'note', type: 'STRING', rule: 'text', required: false, spellings: ['note'], comment: 'a later column' }),
};

let connection: DuckDBConnection;

beforeEach(async () => {
  connection = await (await DuckDBInstance.create(':memory:')).connect();
  await connection.run('create table customer_staging (email VARCHAR, note VARCHAR)');
});

/** Arrived records as [email, note, file]; returns both tables and the duplicates by file. */
async function arrive(...records: [string, string | null, number][]) {
  const text = (value: string | null): string => (value === null ? 'null' : `'${value}'`);
  await connection.run('create or replace table arrived (email VARCHAR, note VARCHAR, file INTEGER)');
  await connection.run(
    `insert into arrived values ${records.map(([email, note, file]) => `('${email}', ${text(note)}, ${file})`).join(', ')}`,
  );
  const duplicates = await removeDuplicates(connection, contract, 'arrived');
  const staged = await connection.runAndReadAll('from customer_staging order by all');
  const left = await connection.runAndReadAll('select email, note from arrived order by all');
  return { duplicates: Object.fromEntries(duplicates), staged: staged.getRowsJson(), arrived: left.getRowsJson() };
}

test('of arrived records that differ outside the identity the smallest stays; the first file is not the duplicate', async () => {
  expect(await arrive(['ann', 'b', 0], ['ann', 'a', 1], ['bob', 'x', 1])).toEqual({
    duplicates: { 1: 1 },
    staged: [],
    arrived: [
      ['ann', 'a'],
      ['bob', 'x'],
    ],
  });
});

test('a smaller value replaces the staged one, a larger one does not, and both are duplicates', async () => {
  await connection.run("insert into customer_staging values ('ann', 'b'), ('bob', 'b'), ('cat', 'b'), ('dan', 'b')");
  expect(await arrive(['ann', 'a', 0], ['bob', 'c', 0], ['cat', null, 1])).toEqual({
    duplicates: { 0: 2, 1: 1 },
    staged: [
      ['ann', 'a'],
      ['bob', 'b'],
      ['cat', null],
      ['dan', 'b'],
    ],
    arrived: [],
  });
});

test('the outcome is the same whichever came first', async () => {
  await arrive(['ann', 'a', 0]);
  await connection.run('insert into customer_staging from (select email, note from arrived)');
  const one = await arrive(['ann', 'b', 0]);
  await connection.run("delete from customer_staging; insert into customer_staging values ('ann', 'b')");
  const other = await arrive(['ann', 'a', 0]);
  expect(one).toEqual(other);
});
