import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { CONTRACTS } from '../../functions/core/contracts.ts';
import { settingsSchema } from '../../functions/core/settings.ts';
import { generatedFiles, outdatedFiles, writeGenerated } from '../../tools/generate.ts';
import { temporaryFolders } from '../support/folders.ts';
import { PROJECT } from '../support/service.ts';

const newFolder = temporaryFolders();
const files = generatedFiles();

// What is committed

test.each([...files.keys()])('%s is what the contracts and settings say', (name) => {
  expect(readFileSync(path.join(PROJECT, name), 'utf8')).toBe(files.get(name));
});

test('every contract has its DDL, and every DDL its contract', () => {
  const tables = readdirSync(path.join(PROJECT, 'glue/tables')).map((name) => path.basename(name, '.json'));
  const ddl = readdirSync(path.join(PROJECT, 'glue/ddl')).map((name) => path.basename(name, '.sql'));
  expect(ddl.sort()).toEqual(tables.sort());
  expect(CONTRACTS.map(({ table }) => table).sort()).toEqual(tables);
});

// The generator

test('writes what is missing, mends what was changed, takes away what has no contract, and nothing else', () => {
  const project = newFolder();
  expect(writeGenerated(project)).toEqual([...files.keys()]);
  expect(outdatedFiles(project)).toEqual([]);
  expect(writeGenerated(project)).toEqual([]);

  writeFileSync(path.join(project, 'glue/ddl/loads.sql'), 'changed');
  writeFileSync(path.join(project, 'glue/ddl/gone.sql'), 'no contract');
  mkdirSync(path.join(project, 'docs'), { recursive: true });
  writeFileSync(path.join(project, 'docs/other.md'), 'mine');
  expect(outdatedFiles(project)).toEqual(['glue/ddl/loads.sql', 'glue/ddl/gone.sql']);
  expect(writeGenerated(project)).toEqual(['glue/ddl/loads.sql', 'glue/ddl/gone.sql']);
  expect(outdatedFiles(project)).toEqual([]);
  expect(readdirSync(path.join(project, 'docs')).sort()).toEqual(['costs.md', 'data-dictionary.md', 'other.md']);
});

// Athena DDL

test('a landing table is external JSON in which every column is text', () => {
  expect(files.get('glue/ddl/step_trainer_landing.sql')).toBe(`\
-- Grain: one row per step trainer reading as the device sent it.
-- Athena DDL. Generated from glue/tables/step_trainer_landing.json by "npm run docs"; change it there.
CREATE EXTERNAL TABLE IF NOT EXISTS step_trainer_landing (
  \`sensorreadingtime\` string COMMENT 'when the device measured, as sent, meant as milliseconds since 1970-01-01 UTC',
  \`serialnumber\` string COMMENT 'serial number of the step trainer, as sent',
  \`distancefromobject\` string COMMENT 'distance between the device and the person, as sent'
)
COMMENT 'one row per step trainer reading as the device sent it'
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
WITH SERDEPROPERTIES (
  'case.insensitive' = 'TRUE',
  'ignore.malformed.json' = 'TRUE'
)
LOCATION 's3://\${landing_bucket}/step_trainer_landing/'
`);
});

test('every other table is Iceberg, partitioned as its contract says', () => {
  expect(files.get('glue/ddl/accelerometer_trusted.sql')).toBe(`\
-- Grain: one row per accelerometer reading of a person in customer_trusted (under consentFrom consent-date: made at or after the consent).
-- Athena DDL. Generated from glue/tables/accelerometer_trusted.json by "npm run docs"; change it there.
CREATE TABLE IF NOT EXISTS accelerometer_trusted (
  \`user\` string COMMENT 'e-mail address of the person who made the motion, stripped and with A-Z in lower case',
  \`timestamp\` bigint COMMENT 'when the motion was measured, milliseconds since 1970-01-01 UTC',
  \`x\` double COMMENT 'acceleration along the x axis',
  \`y\` double COMMENT 'acceleration along the y axis',
  \`z\` double COMMENT 'acceleration along the z axis',
  \`reading_date\` date COMMENT 'day of the reading, UTC; the partition column'
)
PARTITIONED BY (\`reading_date\`)
LOCATION 's3://\${lake_bucket}/warehouse/\${database}.db/accelerometer_trusted/'
TBLPROPERTIES ('table_type' = 'ICEBERG')
`);
});

test.each(CONTRACTS.map((contract) => [contract.table, contract] as const))('the DDL of %s is sound', (table, contract) => {
  const text = files.get(`glue/ddl/${table}.sql`) ?? '';
  const columns = [...text.matchAll(/^ {2}`([a-z_]+)` ([a-z]+) COMMENT '([^']+)',?$/gm)].map(([, name, type, comment]) => ({
    name,
    type,
    comment,
  }));
  expect(columns.map(({ name, type }) => ({ name, type }))).toEqual(
    contract.columns.map(({ name, type }) => ({ name, type: type.toLowerCase() })),
  );
  // The data catalog takes comments of at most 255 bytes.
  for (const { comment = '' } of columns) expect(Buffer.byteLength(comment)).toBeLessThanOrEqual(255);
  expect((text.match(/'/g)?.length ?? 0) % 2).toBe(0);
  expect(text.includes('EXTERNAL')).toBe(contract.zone === 'landing');
  expect(text.includes("'table_type' = 'ICEBERG'")).toBe(contract.zone !== 'landing');
  if (contract.zone !== 'landing' && contract.partition !== undefined) {
    expect(contract.columns.map(({ name }) => name)).toContain(contract.partition);
    expect(text).toContain(`PARTITIONED BY (\`${contract.partition}\`)`);
  } else {
    expect(text).not.toContain('PARTITIONED BY');
  }
});

// Data dictionary

describe('the data dictionary', () => {
  const dictionary = files.get('docs/data-dictionary.md') ?? '';

  test.each(CONTRACTS.map((contract) => [contract.table, contract] as const))(
    'tells %s: its grain, its columns and what is personal',
    (table, contract) => {
      const [, section = ''] = new RegExp(`### ${table}\n(.*?)(?=\n##|$)`, 's').exec(dictionary) ?? [];
      expect(section.toLowerCase()).toContain(contract.grain.toLowerCase());
      for (const { name, comment, pii } of contract.columns) {
        const row = section.split('\n').find((line) => line.startsWith(`| \`${name}\` `)) ?? '';
        expect(row).toContain(comment);
        expect(/\| yes +\| [^|]+\|$/.test(row)).toBe(pii === true);
      }
    },
  );

  test('leads only to headings and files that are there', () => {
    const links = [...dictionary.matchAll(/\]\(([^)]+)\)/g)].map(([, target = '']) => target);
    expect(links.length).toBeGreaterThan(CONTRACTS.length);
    for (const target of new Set(links)) {
      if (target.startsWith('#')) expect(dictionary).toContain(`\n### ${target.slice(1)}\n`);
      else expect(readFileSync(path.join(PROJECT, 'docs', target), 'utf8')).not.toBe('');
    }
  });
});

// Settings

test('the schema of the settings names every setting with its default and what it is for', () => {
  const schema = z
    .looseObject({
      additionalProperties: z.literal(false),
      properties: z.record(z.string(), z.looseObject({})),
    })
    .parse(JSON.parse(files.get('settings.schema.json') ?? ''));
  const defaults: Record<string, unknown> = settingsSchema.parse({});
  expect(Object.keys(schema.properties).sort()).toEqual(['$schema', ...Object.keys(defaults)].sort());
  expect(schema).not.toHaveProperty('required');
  for (const [name, value] of Object.entries(defaults)) {
    expect(schema.properties[name]?.['default']).toEqual(value);
    expect(schema.properties[name]?.['description']).toMatch(/\.$/);
  }
});

test('the settings that come with the project keep their schema', () => {
  const settings: unknown = JSON.parse(readFileSync(path.join(PROJECT, 'settings.json'), 'utf8'));
  expect(settings).toMatchObject({ $schema: './settings.schema.json' });
  expect(settingsSchema.safeParse(settings).success).toBe(true);
});
