import { DuckDBInstance } from '@duckdb/node-api';
import type { DuckDBConnection } from '@duckdb/node-api';
import { CONTRACTS } from '../../functions/core/contracts.ts';
import { Template, text } from './template.ts';

/** The saved queries, run where the same tables exist: Athena's SQL and DuckDB's agree on what they use. */

const queries = new Map(
  new Template('default')
    .ofType('AWS::Athena::NamedQuery')
    .map(([id, properties]) => [id, { ...properties, sql: text(properties['QueryString'] ?? '') }]),
);

async function lake(): Promise<DuckDBConnection> {
  const connection = await (await DuckDBInstance.create(':memory:')).connect();
  for (const { table, columns } of CONTRACTS)
    await connection.run(`create table ${table} (${columns.map(({ name, type }) => `"${name}" ${type}`).join(', ')})`);
  return connection;
}

async function rows(connection: DuckDBConnection, id: string): Promise<unknown[]> {
  const reader = await connection.runAndReadAll(queries.get(id)?.sql ?? '');
  return reader.getRowObjectsJson();
}

test('each belongs to the operators, and reads this database', () => {
  expect([...queries.keys()]).toEqual(['LandingCountsQuery', 'ConsentQuery', 'IdentityQuery']);
  for (const query of queries.values()) expect(query).toMatchObject({ WorkGroup: 'stedi-dev-operators', Database: 'stedi_dev' });
});

test('landing counts are the sums over what was loaded', async () => {
  const connection = await lake();
  await connection.run(`insert into loads by name
    select 'customer_landing' as landing_table, 5 as landed, 3 as staged, 1 as duplicate, 1 as rejected from range(2)`);
  expect(await rows(connection, 'LandingCountsQuery')).toEqual([
    { landing_table: 'customer_landing', files: '2', landed: '10', staged: '6', duplicate: '2', rejected: '2' },
  ]);
});

test('who did not consent would come back', async () => {
  const connection = await lake();
  await connection.run(`insert into customer_trusted by name
    select email, consent as sharewithresearchasofdate from (values ('yes', 1), ('no', 0), ('never', null)) as people(email, consent)`);
  expect(await rows(connection, 'ConsentQuery')).toEqual([
    { email: 'no', sharewithresearchasofdate: '0' },
    { email: 'never', sharewithresearchasofdate: null },
  ]);
});

test('the identity counts pairs at the same time, and of them those of one person', async () => {
  const connection = await lake();
  await connection.run(
    `insert into step_trainer_trusted by name select email, 7 as sensorreadingtime from (values ('a'), ('a'), ('b')) as steps(email)`,
  );
  await connection.run(
    `insert into accelerometer_trusted by name select person as "user", 7 as "timestamp" from (values ('a'), ('b'), ('c')) as motions(person)`,
  );
  await connection.run('insert into machine_learning_curated by name select 7 as sensorreadingtime from range(3)');
  expect(await rows(connection, 'IdentityQuery')).toEqual([
    { same_time: '9', same_person: '3', other_person: '6', machine_learning_curated: '3' },
  ]);
});
