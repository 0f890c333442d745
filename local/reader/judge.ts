import type { LandingColumn, LandingContract } from '../../functions/core/contracts.ts';
import { membersOf } from './values.ts';
import type { Member } from './values.ts';

/** Why a record was rejected, and the column that the rule is about. */
export interface Rejection {
  reason: string;
  field: string | null;
}

/** A record that keeps its contract: each column's value as JSON text, in the order of the contract. */
interface Accepted {
  values: string[];
  unknownFields: string[];
}

/** Judges one JSON object by docs/records.md, "From an object to a staged row". */
export function judge(object: string, contract: LandingContract): Accepted | Rejection {
  const members = membersOf(object);
  const values: string[] = [];
  const known = new Set<Member>();
  for (const column of contract.columns) {
    const found = members.filter(({ name }) => column.spellings.some((spelling) => fold(spelling) === fold(name)));
    if (found.length > 1) return { reason: 'duplicate_field', field: column.name };
    const [member] = found;
    if (member !== undefined) known.add(member);
    const value = member === undefined || isNull(member.raw) ? nullFor(column) : RULES[column.rule](member.raw);
    if (typeof value !== 'string') return { ...value, field: column.name };
    values.push(value);
  }
  return { values, unknownFields: members.filter((member) => !known.has(member)).map(({ name }) => name) };
}

/** A–Z to a–z and nothing else: lower() differs between engines outside ASCII. */
function fold(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

function isNull(raw: string): boolean {
  return raw === 'null' || (raw.startsWith('"') && strip(textOf(raw)) === '');
}

function nullFor(column: LandingColumn): string | { reason: string } {
  return column.required ? { reason: 'missing_field' } : 'null';
}

const INTEGER = /^-?(?:0|[1-9][0-9]*)$/;
const INTEGER_OR_POINT_ZERO = /^(-?(?:0|[1-9][0-9]*))(?:\.0)?$/;
const DIGITS = /^(0|[1-9][0-9]*)(?:\.0)?$/;
const NUMBER = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/;
const MIN_BIGINT = -(2n ** 63n);
const MAX_BIGINT = 2n ** 63n - 1n;
/** Digits and a sign: longer ones are slow to read, and too large. */
const LONGEST_BIGINT = String(MIN_BIGINT).length;
const MAX_TIME = 253402300799999n;

/** From a value as written to the column's value as JSON text. */
type Rule = (raw: string) => string | { reason: string };

const RULES: Record<LandingColumn['rule'], Rule> = {
  text: (raw) => text(raw, (stripped) => stripped),
  email: (raw) => text(raw, fold),
  integer: (raw) => integer(raw)?.toString() ?? { reason: 'not_an_integer' },
  time: (raw) => {
    const value = integer(raw);
    if (value === null) return { reason: 'not_an_integer' };
    return value >= 1n && value <= MAX_TIME ? value.toString() : { reason: 'time_out_of_range' };
  },
  consent: (raw) => {
    const value = integer(raw);
    if (value === null) return { reason: 'not_an_integer' };
    if (value < 0n) return { reason: 'negative_consent' };
    return value === 0n ? 'null' : value.toString();
  },
  double: (raw) => {
    const written = raw.startsWith('"') ? textOf(raw) : raw;
    const value = NUMBER.test(written) ? Number(written) : Number.NaN;
    return Number.isFinite(value) ? JSON.stringify(value) : { reason: 'not_a_number' }; // JSON.stringify(-0) is 0
  },
};

function text(raw: string, map: (stripped: string) => string): string | { reason: string } {
  if (!raw.startsWith('"')) {
    const [, digits] = DIGITS.exec(raw) ?? [];
    return digits === undefined ? { reason: 'not_text' } : JSON.stringify(digits);
  }
  const value = textOf(raw);
  return value.isWellFormed() ? JSON.stringify(map(strip(value))) : { reason: 'bad_unicode' };
}

function integer(raw: string): bigint | null {
  const digits = raw.startsWith('"') ? INTEGER.exec(textOf(raw))?.[0] : INTEGER_OR_POINT_ZERO.exec(raw)?.[1];
  if (digits === undefined || digits.length > LONGEST_BIGINT) return null;
  const value = BigInt(digits);
  return value >= MIN_BIGINT && value <= MAX_BIGINT ? value : null;
}

function textOf(raw: string): string {
  return String(JSON.parse(raw));
}

function strip(value: string): string {
  let from = 0;
  let to = value.length;
  while (from < to && isBlank(value.charCodeAt(from))) from += 1;
  while (to > from && isBlank(value.charCodeAt(to - 1))) to -= 1;
  return value.slice(from, to);
}

function isBlank(code: number): boolean {
  return (code >= 0x09 && code <= 0x0d) || code === 0x20 || code === 0xa0;
}
