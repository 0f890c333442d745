import { GetTableCommand, GlueClient, UpdateTableCommand } from '@aws-sdk/client-glue';
import type { Table, TableInput } from '@aws-sdk/client-glue';
import { GlueLandingTables } from '../../../functions/aws/landingTables.ts';
import { landingContractOf } from '../../../functions/core/contracts.ts';
import { generatedFiles } from '../../../tools/generate.ts';
import { emulatorOfTests, newLandingTables } from './benches.ts';
import type { GlueTablesBench } from './benches.ts';

const emulator = emulatorOfTests();

async function tableOf({ glue, database }: GlueTablesBench): Promise<Table> {
  const { Table } = await glue.send(new GetTableCommand({ DatabaseName: database, Name: 'customer_landing' }));
  if (Table === undefined) throw new Error('no table');
  return Table;
}

/** Changes a table as a person does in the console. */
async function change({ glue, database }: GlueTablesBench, of: (table: Table) => Partial<TableInput>): Promise<void> {
  const there = await tableOf({ glue, database } as GlueTablesBench);
  const { Name, Description, TableType, Parameters, StorageDescriptor, PartitionKeys } = there;
  const TableInput: TableInput = { Name, Description, TableType, Parameters, StorageDescriptor, PartitionKeys, ...of(there) };
  await glue.send(new UpdateTableCommand({ DatabaseName: database, TableInput }));
}

test('a table is made as its generated DDL says', async () => {
  const bench = await newLandingTables(emulator());
  await bench.landingTables.ensure('customer_landing', ['note']);
  const { StorageDescriptor, TableType, Description, Parameters } = await tableOf(bench);
  const ddl = generatedFiles().get('glue/ddl/customer_landing.sql') ?? '';
  const columns = (StorageDescriptor?.Columns ?? []).slice(0, -1);
  expect(columns).toHaveLength(landingContractOf('customer_landing').columns.length);
  for (const { Name, Type, Comment } of columns) expect(ddl).toContain(`  \`${Name}\` ${Type} COMMENT '${Comment}'`);
  expect(ddl).toContain(`COMMENT '${Description}'`);
  expect(ddl).toContain(`ROW FORMAT SERDE '${StorageDescriptor?.SerdeInfo?.SerializationLibrary}'`);
  for (const [name, value] of Object.entries(StorageDescriptor?.SerdeInfo?.Parameters ?? {}))
    expect(ddl).toContain(`'${name}' = '${value}'`);
  expect(Object.keys(StorageDescriptor?.SerdeInfo?.Parameters ?? {})).toHaveLength(2);
  expect(StorageDescriptor?.Location).toBe('s3://landing/customer_landing/');
  expect([TableType, Parameters?.['EXTERNAL']]).toEqual(['EXTERNAL_TABLE', 'TRUE']);
  expect(StorageDescriptor?.Columns?.at(-1)).toMatchObject({ Name: 'note', Type: 'string' });
});

test('what people changed about a table stays when it gains a column', async () => {
  const bench = await newLandingTables(emulator());
  await bench.landingTables.ensure('customer_landing', []);
  await change(bench, (table) => ({
    Description: 'ours',
    Owner: 'data team',
    Parameters: { ...table.Parameters, team: 'balance' },
    StorageDescriptor: {
      ...table.StorageDescriptor,
      Location: 's3://elsewhere/customer_landing/',
      Columns: [
        { Name: 'own', Type: 'int', Comment: 'added by hand' },
        ...(table.StorageDescriptor?.Columns ?? []).map((column) =>
          column.Name === 'email' ? { ...column, Comment: 'theirs' } : column,
        ),
      ],
    },
  }));
  const before = await tableOf(bench);
  const written: (TableInput | undefined)[] = [];
  bench.glue.middlewareStack.add(
    (next) => async (args) => {
      if ('TableInput' in args.input) written.push(args.input.TableInput);
      return next(args);
    },
    { step: 'initialize' },
  );
  await bench.landingTables.ensure('customer_landing', ['NOTE', 'Own', 'E-mail', 'email', '']);
  // Glue removes what an update omits; the emulator keeps it.
  expect(written).toMatchObject([
    {
      Description: 'ours',
      Owner: 'data team',
      TableType: 'EXTERNAL_TABLE',
      Parameters: { team: 'balance', EXTERNAL: 'TRUE' },
    },
  ]);
  const after = await tableOf(bench);
  const columns = after.StorageDescriptor?.Columns ?? [];
  expect(columns.map(({ Name }) => Name)).toEqual([
    ...(before.StorageDescriptor?.Columns ?? []).map(({ Name }) => Name),
    'NOTE',
    'E-mail',
  ]);
  expect({ ...after, StorageDescriptor: { ...after.StorageDescriptor, Columns: columns.slice(0, -2) } }).toEqual({
    ...before,
    VersionId: after.VersionId,
    UpdateTime: after.UpdateTime,
  });
});

test('a table that knows all columns is not written', async () => {
  const bench = await newLandingTables(emulator());
  await bench.landingTables.ensure('customer_landing', ['note']);
  const before = await tableOf(bench);
  await bench.landingTables.ensure('customer_landing', ['Note']);
  expect((await tableOf(bench)).VersionId).toBe(before.VersionId);
});

test('a contract’s column that is missing is appended', async () => {
  const bench = await newLandingTables(emulator());
  await bench.landingTables.ensure('customer_landing', []);
  await change(bench, ({ StorageDescriptor }) => ({
    StorageDescriptor: {
      ...StorageDescriptor,
      Columns: (StorageDescriptor?.Columns ?? []).filter(({ Name }) => Name !== 'email'),
    },
  }));
  await bench.landingTables.ensure('customer_landing', []);
  expect((await tableOf(bench)).StorageDescriptor?.Columns?.at(-1)?.Name).toBe('email');
});

test('a change that somebody else makes between reading and writing is not lost', async () => {
  const bench = await newLandingTables(emulator());
  await bench.landingTables.ensure('customer_landing', []);
  let calls = 0;
  bench.glue.middlewareStack.add(
    (next, context) => async (args) => {
      if (context.commandName === 'UpdateTableCommand' && (calls += 1) === 1)
        await change(bench, ({ Parameters }) => ({ Parameters: { ...Parameters, team: 'balance' } }));
      return next(args);
    },
    { step: 'initialize' },
  );
  await bench.landingTables.ensure('customer_landing', ['note']);
  const { Parameters, StorageDescriptor } = await tableOf(bench);
  expect([Parameters?.['team'], StorageDescriptor?.Columns?.at(-1)?.Name]).toEqual(['balance', 'note']);
  expect(calls).toBe(3); // the one that was refused, the other one’s own, and the one that went through
});

test('a file of a thousand made-up fields brings some of them, and does not fail', async () => {
  const bench = await newLandingTables(emulator());
  await bench.landingTables.ensure('customer_landing', []);
  await bench.landingTables.ensure(
    'customer_landing',
    Array.from({ length: 1000 }, (_, at) => `field_${at}`),
  );
  await bench.landingTables.ensure('customer_landing', ['x'.repeat(300)]);
  expect(await bench.extraColumns('customer_landing')).toHaveLength(200);
});

test('a table that somebody else makes at the same moment is extended', async () => {
  const bench = await newLandingTables(emulator());
  const other = new GlueLandingTables(new GlueClient(emulator().client), bench.database, 'landing');
  let calls = 0;
  bench.glue.middlewareStack.add(
    (next, context) => async (args) => {
      if (context.commandName === 'CreateTableCommand' && (calls += 1) === 1) await other.ensure('customer_landing', ['theirs']);
      return next(args);
    },
    { step: 'initialize' },
  );
  await bench.landingTables.ensure('customer_landing', ['ours']);
  expect(await bench.extraColumns('customer_landing')).toEqual(['theirs', 'ours']);
  expect(calls).toBe(1);
});
