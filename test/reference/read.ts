// From bytes to values: docs/records.md, "From bytes to lines" and "From a line to values".
import { gunzip, isGzip } from './gzip.ts';
import { jsonAt, type Member } from './json.ts';

export type Found = FoundObject | FoundBroken;

export interface FoundObject {
  kind: 'object';
  line: number;
  position: number;
  text: string;
  members: Member[];
}

export interface FoundBroken {
  kind: 'broken';
  line: number;
  position: number;
  text: string;
  encoding: Encoding;
  reason: 'broken_gzip' | 'line_too_long' | 'not_utf8' | 'broken_json' | 'not_an_object';
}

export type Encoding = 'utf-8' | 'base64';

/** Everything that landed in a file, in order: `landed` is the length of the list. */
export function read(bytes: Uint8Array): Found[] {
  const plain = isGzip(bytes) ? gunzip(bytes) : bytes;
  if (plain === undefined) return [broken('broken_gzip', 1, 1, '')];
  return linesOf(withoutByteOrderMark(plain)).flatMap((line, index) => readLine(line, index + 1));
}

function withoutByteOrderMark(bytes: Uint8Array): Uint8Array {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes;
}

function linesOf(bytes: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = [];
  let start = 0;
  while (start < bytes.length) {
    const newline = bytes.indexOf(0x0a, start);
    const end = newline === -1 ? bytes.length : newline;
    lines.push(bytes.subarray(start, end));
    start = end + 1;
  }
  return lines;
}

const LONGEST_LINE = 256 * 1024 * 1024;
/** Bytes of a rejected record's text; longer ones are counted without it. */
export const LONGEST_REJECT = 16 * 1024 * 1024;

function readLine(bytes: Uint8Array, line: number): Found[] {
  if (bytes.length > LONGEST_LINE) return [broken('line_too_long', line, 1, '')];
  const text = decoded(bytes);
  if (text === undefined) return [broken('not_utf8', line, 1, Buffer.from(bytes).toString('base64'), 'base64')];
  return valuesOf(text, line);
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decoded(bytes: Uint8Array): string | undefined {
  try {
    return UTF8.decode(bytes);
  } catch {
    return undefined;
  }
}

const BLANKS = [' ', '\t', '\r'];

function valuesOf(text: string, line: number): Found[] {
  const found: Found[] = [];
  let insideArray = false;
  let at = 0;
  for (;;) {
    const char = text[at];
    if (char === undefined) return found;
    const bracket = char === ']' || (char === '[' && !insideArray);
    if (bracket) insideArray = char === '[';
    if (bracket || char === ',' || BLANKS.includes(char)) {
      at += 1;
      continue;
    }
    const position = found.length + 1;
    const json = jsonAt(text, at);
    if (json === undefined) {
      found.push(broken('broken_json', line, position, withoutBlanksAtEnd(text.slice(at))));
      return found;
    }
    const own = text.slice(at, json.end);
    if (json.value.kind === 'object') found.push({ kind: 'object', line, position, text: own, members: json.value.members });
    else found.push(broken('not_an_object', line, position, own));
    at = json.end;
  }
}

function withoutBlanksAtEnd(text: string): string {
  let end = text.length;
  while (BLANKS.includes(text.charAt(end - 1))) end -= 1;
  return text.slice(0, end);
}

function broken(
  reason: FoundBroken['reason'],
  line: number,
  position: number,
  text: string,
  encoding: Encoding = 'utf-8',
): FoundBroken {
  return { kind: 'broken', line, position, text, encoding, reason };
}
