import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { markdownTable } from 'markdown-table';
import { z } from 'zod';
import { CONTRACTS } from '../functions/core/contracts.ts';
import type { Column, LandingColumn, LandingContract, TableContract } from '../functions/core/contracts.ts';
import { settingsSchema } from '../functions/core/settings.ts';
import { sqlFiles } from '../local/projectFiles.ts';
import { costsPage } from './costs.ts';

/**
 * The files that follow from contracts, audits, settings and prices: `glue/ddl/<table>.sql`, `docs/data-dictionary.md`, `docs/costs.md`,
 * `functions/core/auditNames.ts` and `settings.schema.json`. `npm run docs` writes them; with `--check` they are only compared.
 */

const PROJECT = path.join(import.meta.dirname, '..');
const DDL = 'glue/ddl';

type Contract = LandingContract | TableContract;

/** Every generated file by its path in the project. */
export function generatedFiles(): Map<string, string> {
  return new Map([
    ...CONTRACTS.map((contract) => [`${DDL}/${contract.table}.sql`, ddl(contract)] as const),
    ['docs/data-dictionary.md', dataDictionary()],
    ['docs/costs.md', costsPage()],
    ['functions/core/auditNames.ts', auditNames()],
    ['settings.schema.json', settingsJsonSchema()],
  ]);
}

/** Paths of generated files that are missing, differ, or exist without a contract. */
export function outdatedFiles(project = PROJECT): string[] {
  const wanted = generatedFiles();
  const differing = [...wanted].filter(([name, text]) => readOrNull(path.join(project, name)) !== text).map(([name]) => name);
  return [...differing, ...strayFiles(project, wanted)];
}

/** Writes what is outdated and removes what has no contract; returns the paths. */
export function writeGenerated(project = PROJECT): string[] {
  const wanted = generatedFiles();
  const outdated = outdatedFiles(project);
  for (const name of outdated) {
    const file = path.join(project, name);
    const text = wanted.get(name);
    if (text === undefined) {
      rmSync(file);
    } else {
      mkdirSync(path.dirname(file), { recursive: true });
      writeFileSync(file, text);
    }
  }
  return outdated;
}

function strayFiles(project: string, wanted: ReadonlyMap<string, string>): string[] {
  const folder = path.join(project, DDL);
  return (existsSync(folder) ? readdirSync(folder) : [])
    .map((name) => `${DDL}/${name}`)
    .filter((name) => name.endsWith('.sql') && !wanted.has(name));
}

function readOrNull(file: string): string | null {
  return existsSync(file) ? readFileSync(file, 'utf8') : null;
}

// Athena DDL

/** Names are in backticks: `user` and `timestamp` are reserved words in Athena's DDL, and others may become so. */
function quoted(name: string): string {
  return `\`${name}\``;
}

/** Athena's DDL and its queries escape an apostrophe differently; a typographic one needs no escaping. */
function comment(text: string): string {
  return `'${text.replaceAll("'", '’')}'`;
}

function ddl(contract: Contract): string {
  const { table, grain, columns } = contract;
  const definitions = columns.map(
    (column) => `  ${quoted(column.name)} ${column.type.toLowerCase()} COMMENT ${comment(column.comment)}`,
  );
  return [
    `-- Grain: ${grain}.`,
    `-- Athena DDL. Generated from glue/tables/${table}.json by "npm run docs"; change it there.`,
    contract.zone === 'landing' ? `CREATE EXTERNAL TABLE IF NOT EXISTS ${table} (` : `CREATE TABLE IF NOT EXISTS ${table} (`,
    definitions.join(',\n'),
    ')',
    ...(contract.zone === 'landing' ? externalJson(contract) : iceberg(contract)),
    '',
  ].join('\n');
}

/** The raw files as they came: every column is text, and lines that Athena can't read are left out there (not by runs). */
function externalJson({ table, grain }: LandingContract): string[] {
  return [
    `COMMENT ${comment(grain)}`,
    "ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'",
    'WITH SERDEPROPERTIES (',
    "  'case.insensitive' = 'TRUE',",
    "  'ignore.malformed.json' = 'TRUE'",
    ')',
    `LOCATION 's3://\${landing_bucket}/${table}/'`,
  ];
}

function iceberg({ table, partition }: TableContract): string[] {
  return [
    ...(partition === undefined ? [] : [`PARTITIONED BY (${quoted(partition)})`]),
    // Where the jobs create the tables themselves, and the only place where they may write them.
    `LOCATION 's3://\${lake_bucket}/warehouse/\${database}.db/${table}/'`,
    "TBLPROPERTIES ('table_type' = 'ICEBERG')",
  ];
}

// Data dictionary

const ZONES: readonly (readonly [zone: Contract['zone'], title: string, about: string])[] = [
  [
    'landing',
    'Landing',
    'The files as they came: JSON in a folder of each table, which nobody changes. As tables, all columns are text. ' +
      'They show what can be read line by line; [records.md](records.md) says what they leave out, and how files become records. Fields that a contract does not know come after its columns, up to 200.',
  ],
  ['staging', 'Staging', 'Every valid record that ever landed, typed, once.'],
  [
    'trusted',
    'Trusted',
    'Only people who agreed to share their data for research, and their readings; under `consentFrom: consent-date` only those made since the consent.',
  ],
  [
    'curated',
    'Curated',
    '`machine_learning_curated` is what data scientists work with; under `mlJoin: time` its rows pair readings of the same time, whoever they are from. `customers_curated` says who these people are, and is not for data scientists.',
  ],
  ['operations', 'Operations', 'What runs did: which files they loaded, and which records they could not take.'],
];

function dataDictionary(): string {
  const zones = ZONES.map(([zone, title, about]) => {
    const tables = CONTRACTS.filter((contract) => contract.zone === zone);
    return [`## ${title}`, about, ...tables.map(tableSection)].join('\n\n');
  });
  return `${[
    '# Data dictionary',
    'Every table of the lake with its columns. Generated from the contracts in `glue/tables/` by `npm run docs`; change it there.',
    overview(),
    'Columns marked as personal hold what leads to a person, by itself or with a table that the same people may read on AWS (on one machine, whoever reads one table reads all).',
    ...zones,
  ].join('\n\n')}\n`;
}

function overview(): string {
  const rows = ZONES.flatMap(([zone, title]) =>
    CONTRACTS.filter((contract) => contract.zone === zone).map(({ table, grain }) => [
      title,
      `[${table}](#${table})`,
      sentence(grain),
    ]),
  );
  return markdownTable([['zone', 'table', 'grain'], ...rows]);
}

function tableSection(contract: Contract): string {
  const parts = [`### ${contract.table}`, `${sentence(contract.grain)}.${layout(contract)}`];
  parts.push(contract.zone === 'landing' ? landingColumns(contract) : publishedColumns(contract));
  if (contract.zone === 'landing') {
    parts.push(
      `Valid records go to [${contract.feeds}](#${contract.feeds}). Records that agree in ${identity(contract)} are the same record, which is staged once.`,
    );
  }
  return parts.join('\n\n');
}

function identity({ identity: names, columns }: LandingContract): string {
  return names.length === columns.length ? 'all of these columns' : listed(names);
}

function layout(contract: Contract): string {
  if (contract.zone === 'landing') return '';
  const { partition, sort = [] } = contract;
  const parts = [
    ...(partition === undefined ? [] : [`partitioned by \`${partition}\``]),
    ...(sort.length === 0 ? [] : [`sorted by ${listed(sort)} in each file`]),
  ];
  return parts.length === 0 ? '' : ` On AWS ${parts.join(' and ')}.`;
}

function publishedColumns({ columns }: TableContract): string {
  return markdownTable([
    ['column', 'type', 'personal', 'meaning'],
    ...columns.map((column) => [`\`${column.name}\``, column.type, personal(column), column.comment]),
  ]);
}

const RULE: Record<LandingColumn['rule'], string> = {
  text: 'text, stripped',
  email: 'text, stripped, A–Z in lower case',
  integer: 'integer of 64 bits',
  time: 'milliseconds, from 1 to the end of the year 9999',
  consent: 'milliseconds; absent, empty or 0 is no consent',
  double: 'finite number',
};

function landingColumns({ columns }: LandingContract): string {
  return markdownTable([
    ['column', 'field in the file', 'required', 'taken as', 'personal', 'meaning'],
    ...columns.map((column) => [
      `\`${column.name}\``,
      `${column.spellings.map((spelling) => `\`${spelling}\``).join(' or ')}, in any case`,
      column.required ? 'yes' : '',
      RULE[column.rule],
      personal(column),
      column.comment,
    ]),
  ]);
}

function personal({ pii }: Pick<Column, 'pii'>): string {
  return pii === true ? 'yes' : '';
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function listed(names: readonly string[]): string {
  const all = names.map((name) => `\`${name}\``);
  const last = all.pop() ?? '';
  return all.length === 0 ? last : `${all.join(', ')} and ${last}`;
}

// Audits

/** A Lambda has no folder to look into: the names come with its code. */
function auditNames(): string {
  return [
    '/** Every audit of `glue/audits/`: the gate wants a result of each. Generated by "npm run docs". */',
    'export const AUDIT_NAMES: readonly string[] = [',
    ...[...sqlFiles('audits').keys()].map((name) => `  '${name}',`),
    '];',
    '',
  ].join('\n');
}

// Settings

function settingsJsonSchema(): string {
  const schema = z.toJSONSchema(settingsSchema, { io: 'input' });
  const { $schema, ...rest } = schema;
  return `${JSON.stringify({ $schema, title: 'Settings of the STEDI lakehouse', ...rest }, null, 2)}\n`;
}

// The command

if (import.meta.main) {
  if (process.argv.includes('--check')) {
    const outdated = outdatedFiles();
    if (outdated.length > 0) {
      console.error(`Not what the contracts and settings say: ${outdated.join(', ')}; run "npm run docs"`);
      process.exitCode = 1;
    }
  } else {
    const written = writeGenerated();
    console.log(written.length === 0 ? 'Everything is up to date' : `Wrote ${written.join(', ')}`);
  }
}
