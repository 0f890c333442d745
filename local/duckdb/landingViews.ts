import { mkdir, realpath } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { landingContractOf, MOST_EXTRA_COLUMNS } from '../../functions/core/contracts.ts';
import { messageOf } from '../../functions/core/errors.ts';
import { inParallel } from '../../functions/core/parallel.ts';
import { byLandingTable, LANDING_TABLES } from '../../functions/core/steps.ts';
import type { LandingTable } from '../../functions/core/steps.ts';
import type { FolderLanding } from '../landing.ts';
import type { UnknownFields } from '../ledger.ts';
import { isGzip, unpack } from '../reader/unpack.ts';
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

interface Landed {
  landing: FolderLanding;
  /** Other fields than those of the contracts that files brought. */
  unknown: UnknownFields;
  /** The tables that are asked for: no other is read. */
  asked: readonly LandingTable[];
  /** Where gzip files are unpacked, as a run does it: DuckDB's own reader stops at some of them, or silently in the middle of one. */
  scratch: string;
}

/**
 * Creates a view for each landing table that reads the landed files as text, record by record. No file can make one fail; what is not a
 * record shows as a row of nulls or not at all (docs/records.md). Fields that files brought beyond the contract follow its columns. Returns
 * the files that the views read; `tell` reports those that can't be read.
 */
export async function createLandingViews(
  connection: DuckDBConnection,
  landed: Landed,
  tell: (text: string) => void,
): Promise<string[]> {
  await connection.run(RECORDS_OF_LINE);
  const files = await landedFiles(landed, tell);
  for (const table of LANDING_TABLES)
    await connection.run(`create temp view ${table} as ${viewOf(fieldsOf(table, landed.unknown[table]), files[table])}`);
  return Object.values(files).flat();
}

async function landedFiles(
  { landing, asked, scratch }: Landed,
  tell: (text: string) => void,
): Promise<Record<LandingTable, string[]>> {
  const files = byLandingTable((): string[] => []);
  const packed: { table: LandingTable; key: string; place: string; unpacked: string }[] = [];
  for await (const page of landing.list()) {
    for (const { table, key } of page) {
      if (!asked.includes(table)) continue;
      try {
        // A link's target: DuckDB checks whether that may be read.
        const place = await realpath(landing.pathOf(key));
        if (isGzip(place)) packed.push({ table, key, place, unpacked: path.join(scratch, `landed-${packed.length}`) });
        else files[table].push(place);
      } catch (error) {
        tell(`Left out: ${key} can't be read (${messageOf(error)})`);
      }
    }
  }
  if (packed.length > 0) await mkdir(scratch, { recursive: true });
  const whole = await inParallel(packed, ({ place, unpacked }) => unpack(place, unpacked), availableParallelism());
  for (const [at, { table, key, unpacked }] of packed.entries()) {
    if (whole[at]) files[table].push(unpacked);
    else tell(`Left out: ${key} is not a whole gzip file`);
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

function viewOf(fields: readonly Field[], files: readonly string[]): string {
  if (files.length === 0) return `select ${fields.map(({ name }) => `null::VARCHAR as "${name}"`).join(', ')} where false`;
  const paths = fields.flatMap(({ spellings }) => spellings.map((spelling) => literal(`$."${spelling}"`)));
  let at = 0;
  const columns = fields.map(
    ({ name, spellings }) => `coalesce(${spellings.map(() => `v[${(at += 1)}]`).join(', ')}) as "${name}"`,
  );
  return `
    with lines as (select trim(line, E' \\t\\r,') as line from (${linesOf(files)}) where line is not null),
    records as (
      select unnest(case when line[1] = '{' and json_valid(line) then [line::JSON] else records_of_line(line) end) as record
      from lines where trim(line, ${LAYOUT}) <> ''),
    fields as (select json_extract_string(record, [${paths.join(', ')}]) as v from records)
    select ${columns.join(', ')} from fields`;
}

/** Every line of the files as it stands: a CSV of one column without delimiter, quotes or escapes. What is not UTF-8 is left out. */
function linesOf(files: readonly string[]): string {
  return `select line from read_csv(${fileList(files)}, columns = {'line': 'VARCHAR'}, auto_detect = false, hive_partitioning = false, header = false, delim = chr(1),
    quote = '', escape = '', comment = '', new_line = '\\n', strict_mode = false, ignore_errors = true, compression = 'none',
    max_line_size = ${LONGEST_LINE}, buffer_size = ${LONGEST_LINE})`;
}
