import type { LandingColumn, LandingContract } from '../../functions/core/contracts.ts';
import { membersOf } from './values.ts';

/**
 * The shape of a clean line: a pattern for which DuckDB's typed reader is exact. What does not match is read by judge.ts
 * instead, so a shape may be too narrow but never too wide. It is matched against bytes read as Latin-1.
 */
const CLEAN: Record<LandingColumn['rule'], string> = {
  // Printable ASCII at both ends, so there is nothing to strip; no backslash, so nothing to unescape.
  text: String.raw`"[!#-\[\]-~](?:[^"\\\x00-\x1f]*[!#-\[\]-~])?"`,
  email: String.raw`"[!#-\[\]-~]+"`,
  // At most 18 digits fit a BIGINT; at most 14 are a time before the year 9999.
  integer: '-?(?:0|[1-9][0-9]{0,17})',
  time: '[1-9][0-9]{0,13}',
  consent: '(?:0|[1-9][0-9]{0,17})',
  double: String.raw`-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,17})?`,
};
/** A field that the contract does not know may hold any scalar. */
const UNKNOWN = String.raw`(?:"[^"\\\x00-\x1f]*"|-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?|true|false|null)`;
const PLAIN_NAME = /^[A-Za-z0-9_-]+$/;
/** A pattern for more fields would take longer to make than it saves, or could not be made at all. */
const MOST_FIELDS = 64;

/** How a file spells the columns of its contract: column name to field name. */
export type Spelling = Record<string, string>;

export interface Shape {
  /** Matches one clean line with its line end, at lastIndex. */
  line: RegExp;
  spelling: Spelling;
  unknownFields: string[];
}

interface Field {
  name: string;
  column: LandingColumn | undefined;
}

/**
 * The shape of lines like this record: its field names in their order. Columns it lacks may follow their neighbour in the contract.
 * Null when there is none, because a name is unusual or occurs twice, or there are too many.
 */
export function shapeOf(object: string, contract: LandingContract): Shape | null {
  const names = membersOf(object).map(({ name }) => name);
  if (names.length > MOST_FIELDS || !names.every((name) => PLAIN_NAME.test(name))) return null;
  const fields: Field[] = names.map((name) => ({ name, column: columnOf(name, contract) }));
  for (const [at, column] of contract.columns.entries()) {
    if (fields.some((field) => field.column === column)) continue;
    const before = contract.columns[at - 1];
    const place = before === undefined ? 0 : fields.findIndex((field) => field.column === before) + 1;
    fields.splice(place, 0, { name: column.spellings[0] ?? column.name, column });
  }
  const known = fields.flatMap(({ column }) => column ?? []);
  // A name that occurs twice, or two spellings of one column, is for judge.ts to reject.
  if (new Set(names).size < names.length || new Set(known).size < known.length) return null;
  return {
    line: new RegExp(`\\{${pattern(fields)}\\}\\r?\\n`, 'y'),
    spelling: Object.fromEntries(fields.flatMap(({ name, column }) => (column === undefined ? [] : [[column.name, name]]))),
    unknownFields: fields.filter(({ column }) => column === undefined).map(({ name }) => name),
  };
}

function columnOf(name: string, contract: LandingContract): LandingColumn | undefined {
  return contract.columns.find((column) => column.spellings.some((spelling) => spelling.toLowerCase() === name.toLowerCase()));
}

/** Fields before the first required one carry their comma after them, the others before. */
function pattern(fields: readonly Field[]): string {
  const anchor = fields.findIndex(({ column }) => column?.required === true);
  return fields
    .map(({ name, column }, at) => {
      const value = column === undefined ? UNKNOWN : column.required ? CLEAN[column.rule] : `(?:${CLEAN[column.rule]}|null)`;
      const member = `"${name}": ?${value}`;
      if (at === anchor) return member;
      if (at < anchor) return `(?:${member}, ?)?`;
      return column?.required === true ? `, ?${member}` : `(?:, ?${member})?`;
    })
    .join('');
}
