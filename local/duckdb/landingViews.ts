import { realpath } from 'node:fs/promises';
import type { DuckDBConnection } from '@duckdb/node-api';
import { landingContractOf, MOST_EXTRA_COLUMNS } from '../../functions/core/contracts.ts';
import { sniff } from '../../functions/core/catalogFile.ts';
import { messageOf } from '../../functions/core/errors.ts';
import { byLandingTable, LANDING_TABLES } from '../../functions/core/steps.ts';
import type { LandingTable } from '../../functions/core/steps.ts';
import type { FolderLanding } from '../landing.ts';
import type { UnknownFields } from '../ledger.ts';
import { fileList, literal } from './session.ts';

/** A longer line is left out of the view, as DuckDB's buffers are twice as large. */
const LONGEST_LINE = 16 * 1024 * 1024;
const LAYOUT = String.raw`E' \t\r,[]'`;

/** The records of a line that is not one object: an array or part of one, or several objects side by side; otherwise one null. */
const RECORDS_OF_LINE = `
  create temp macro records_of_line(line) as case
    when json_valid('[' || trim(line, ${LAYOUT}) || ']')
      then from_json('[' || trim(line, ${LAYOUT}) || ']', '["JSON"]')
    when json_valid('[' || regexp_replace(trim(line, ${LAYOUT}), '\\}[\\s,]*\\{', '},{', 'g') || ']')
      then from_json('[' || regexp_replace(trim(line, ${LAYOUT}), '\\}[\\s,]*\\{', '},{', 'g') || ']', '["JSON"]')
    else ['null'::JSON] end`;

interface Files {
  plain: string[];
  gzip: string[];
}

/**
 * Creates a view for each landing table that reads the landed files as text, record by record. No file can make one fail; what is not a
 * record shows as a row of nulls or not at all (docs/records.md). Fields that files brought beyond the contract follow its columns. Returns
 * the files that the views read; `tell` reports those that can't be read.
 */
export async function createLandingViews(
  connection: DuckDBConnection,
  landing: FolderLanding,
  unknown: UnknownFields,
  tell: (text: string) => void,
): Promise<string[]> {
  await connection.run(RECORDS_OF_LINE);
  const files = await landedFiles(landing, tell);
  for (const table of LANDING_TABLES)
    await connection.run(`create temp view ${table} as ${viewOf(fieldsOf(table, unknown[table]), files[table])}`);
  return Object.values(files).flatMap(({ plain, gzip }) => [...plain, ...gzip]);
}

async function landedFiles(landing: FolderLanding, tell: (text: string) => void): Promise<Record<LandingTable, Files>> {
  const files = byLandingTable((): Files => ({ plain: [], gzip: [] }));
  for await (const page of landing.list()) {
    for (const { table, key } of page) {
      try {
        const { format } = sniff(table, await landing.head(key, 2));
        // A link's target: DuckDB checks whether that may be read.
        files[table][format === 'gzip' ? 'gzip' : 'plain'].push(await realpath(landing.pathOf(key)));
      } catch (error) {
        tell(`Left out: ${key} can't be read (${messageOf(error)})`);
      }
    }
  }
  for (const [key, why] of landing.misnamed) tell(`Left out: ${key}: ${why}`);
  return files;
}

interface Field {
  /** Of the column. */
  name: string;
  /** How records spell it. */
  spellings: string[];
}

/** Those of the contract, then unknown ones; names that differ only in case are one column. */
function fieldsOf(table: LandingTable, unknown: readonly string[]): Field[] {
  const { columns } = landingContractOf(table);
  const known = columns.map(({ name, spellings }): Field => ({ name, spellings }));
  const fields = new Map(known.map((field) => [field.name.toLowerCase(), field]));
  for (const name of unknown) {
    const field = fields.get(name.toLowerCase());
    if (field !== undefined) field.spellings = [...field.spellings, name];
    else if (fields.size < known.length + MOST_EXTRA_COLUMNS) fields.set(name.toLowerCase(), { name, spellings: [name] });
  }
  return [...fields.values()];
}

function viewOf(fields: readonly Field[], { plain, gzip }: Files): string {
  const sources = [...(plain.length > 0 ? [linesOf(plain, 'none')] : []), ...(gzip.length > 0 ? [linesOf(gzip, 'gzip')] : [])];
  if (sources.length === 0) return `select ${fields.map(({ name }) => `null::VARCHAR as "${name}"`).join(', ')} where false`;
  const paths = fields.flatMap(({ spellings }) => spellings.map((spelling) => literal(`$."${spelling}"`)));
  let at = 0;
  const columns = fields.map(
    ({ name, spellings }) => `coalesce(${spellings.map(() => `v[${(at += 1)}]`).join(', ')}) as "${name}"`,
  );
  return `
    with lines as (select trim(line, E' \\t\\r,') as line from (${sources.join(' union all ')}) where line is not null),
    records as (
      select unnest(case when line[1] = '{' and json_valid(line) then [line::JSON] else records_of_line(line) end) as record
      from lines where trim(line, ${LAYOUT}) <> ''),
    fields as (select json_extract_string(record, [${paths.join(', ')}]) as v from records)
    select ${columns.join(', ')} from fields`;
}

/** Every line of the files as it stands: a CSV of one column without delimiter, quotes or escapes. What is not UTF-8 is left out. */
function linesOf(files: readonly string[], compression: 'none' | 'gzip'): string {
  return `select line from read_csv(${fileList(files)}, columns = {'line': 'VARCHAR'}, auto_detect = false, hive_partitioning = false, header = false, delim = chr(1),
    quote = '', escape = '', comment = '', new_line = '\\n', strict_mode = false, ignore_errors = true, compression = '${compression}',
    max_line_size = ${LONGEST_LINE}, buffer_size = ${LONGEST_LINE})`;
}
