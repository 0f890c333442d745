// From an object to a typed row: docs/records.md, "From an object to a staged row". Each function takes its columns in the
// contract's order, so that the first broken rule is the one reported.
import type { Json, Member } from './json.ts';
import type { Customer, Motion, Step } from './tables.ts';

export type Verdict<Row> = { row: Row } | { reason: string; field: string };

export function judgeCustomer(members: Member[]): Verdict<Customer> {
  return judged(() => ({
    customername: optional(members, 'customername', text),
    email: required(members, 'email', email),
    phone: optional(members, 'phone', text),
    birthday: optional(members, 'birthday', text),
    serialnumber: optional(members, 'serialnumber', text),
    registrationdate: optional(members, 'registrationdate', integer),
    lastupdatedate: optional(members, 'lastupdatedate', integer),
    sharewithresearchasofdate: optional(members, 'sharewithresearchasofdate', consent),
    sharewithpublicasofdate: optional(members, 'sharewithpublicasofdate', consent),
    sharewithfriendsasofdate: optional(members, 'sharewithfriendsasofdate', consent),
  }));
}

export function judgeMotion(members: Member[]): Verdict<Motion> {
  return judged(() => {
    const user = required(members, 'user', email);
    const timestamp = required(members, 'timestamp', time);
    const x = required(members, 'x', double);
    const y = required(members, 'y', double);
    const z = required(members, 'z', double);
    return { user, timestamp, x, y, z, reading_date: dayOf(timestamp) };
  });
}

export function judgeStep(members: Member[]): Verdict<Step> {
  return judged(() => {
    const sensorreadingtime = required(members, 'sensorreadingtime', time);
    const serialnumber = required(members, 'serialnumber', text);
    const distancefromobject = required(members, 'distancefromobject', integer);
    return { sensorreadingtime, serialnumber, distancefromobject, reading_date: dayOf(sensorreadingtime) };
  });
}

/** A rule takes a value that is there and either fits it to its column or names the rule that it breaks. */
type Rule<Fitted> = (value: Json) => { is: Fitted } | { reason: string };

class Refused extends Error {
  readonly reason: string;
  readonly field: string;

  constructor(reason: string, field: string) {
    super(`${field}: ${reason}`);
    this.reason = reason;
    this.field = field;
  }
}

function judged<Row>(build: () => Row): Verdict<Row> {
  try {
    return { row: build() };
  } catch (error) {
    if (error instanceof Refused) return { reason: error.reason, field: error.field };
    throw error;
  }
}

function required<Fitted>(members: Member[], column: string, rule: Rule<Fitted>): Fitted {
  const fitted = optional(members, column, rule);
  if (fitted === null) throw new Refused('missing_field', column);
  return fitted;
}

function optional<Fitted>(members: Member[], column: string, rule: Rule<Fitted>): Fitted | null {
  const value = find(members, column);
  if (value === undefined || isNull(value)) return null;
  const fitted = rule(value);
  if ('reason' in fitted) throw new Refused(fitted.reason, column);
  return fitted.is;
}

/** Every column has one spelling, which differs from the column's name only in the case of A–Z. */
function find(members: Member[], column: string): Json | undefined {
  const own = members.filter((member) => lowerAToZ(member.name) === column);
  if (own.length > 1) throw new Refused('duplicate_field', column);
  return own[0]?.value;
}

function isNull(value: Json): boolean {
  return value.kind === 'null' || (value.kind === 'string' && stripped(value.value) === '');
}

// Rules

const DIGITS = /^([0-9]+)(?:\.0)?$/;
const INTEGER = /^(-?(?:0|[1-9][0-9]*))$/;
const INTEGER_NUMBER = /^(-?(?:0|[1-9][0-9]*))(?:\.0)?$/;
const JSON_NUMBER = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/;
const SMALLEST_INTEGER = -(2n ** 63n);
const LARGEST_INTEGER = 2n ** 63n - 1n;
const LAST_TIME = 253402300799999n;

function text(value: Json): { is: string } | { reason: string } {
  if (value.kind === 'string') return value.value.isWellFormed() ? { is: stripped(value.value) } : { reason: 'bad_unicode' };
  const digits = value.kind === 'number' ? DIGITS.exec(value.text)?.[1] : undefined;
  return digits === undefined ? { reason: 'not_text' } : { is: digits };
}

function email(value: Json): { is: string } | { reason: string } {
  const fitted = text(value);
  return 'is' in fitted ? { is: lowerAToZ(fitted.is) } : fitted;
}

function integer(value: Json): { is: bigint } | { reason: string } {
  const digits = integerDigits(value);
  if (digits === undefined) return { reason: 'not_an_integer' };
  const number = BigInt(digits);
  return number < SMALLEST_INTEGER || number > LARGEST_INTEGER ? { reason: 'not_an_integer' } : { is: number };
}

function integerDigits(value: Json): string | undefined {
  if (value.kind === 'number') return INTEGER_NUMBER.exec(value.text)?.[1];
  if (value.kind === 'string') return INTEGER.exec(value.value)?.[1];
  return undefined;
}

function time(value: Json): { is: bigint } | { reason: string } {
  const fitted = integer(value);
  if ('reason' in fitted) return fitted;
  return fitted.is < 1n || fitted.is > LAST_TIME ? { reason: 'time_out_of_range' } : fitted;
}

function consent(value: Json): { is: bigint | null } | { reason: string } {
  const fitted = integer(value);
  if ('reason' in fitted) return fitted;
  if (fitted.is < 0n) return { reason: 'negative_consent' };
  return { is: fitted.is === 0n ? null : fitted.is };
}

function double(value: Json): { is: number } | { reason: string } {
  const digits = numberText(value);
  if (digits === undefined) return { reason: 'not_a_number' };
  const number = Number(digits);
  if (!Number.isFinite(number)) return { reason: 'not_a_number' };
  return { is: number === 0 ? 0 : number };
}

function numberText(value: Json): string | undefined {
  if (value.kind === 'number') return value.text;
  return value.kind === 'string' && JSON_NUMBER.test(value.value) ? value.value : undefined;
}

// Text

const STRIPPED = new Set(['\u0009', '\u000a', '\u000b', '\u000c', '\u000d', '\u0020', '\u00a0']);

function stripped(value: string): string {
  let start = 0;
  let end = value.length;
  while (start < end && STRIPPED.has(value.charAt(start))) start += 1;
  while (end > start && STRIPPED.has(value.charAt(end - 1))) end -= 1;
  return value.slice(start, end);
}

function lowerAToZ(value: string): string {
  return value.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

function dayOf(milliseconds: bigint): string {
  return new Date(Number(milliseconds)).toISOString().slice(0, 10);
}
