/** One value of a line (docs/records.md, "From a line to values"). */
interface LandedValue {
  /** `broken` is the rest of a line that is not JSON. */
  kind: 'object' | 'other' | 'broken';
  text: string;
}

const LAYOUT = /[ \t\r,]*/y;
// It starts only at the first of several blanks: a line may hold millions.
const BLANK_END = /(?<![ \t\r])[ \t\r]+$/;
const SCALAR = /true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;

/** The values of one line, from left to right; after `broken` there are no more. */
export function* valuesOf(line: string): Generator<LandedValue> {
  let arrayOpen = false;
  for (let at = afterLayout(line, 0); at < line.length; at = afterLayout(line, at)) {
    const char = line[at];
    if (char === ']' || (char === '[' && !arrayOpen)) {
      arrayOpen = char === '[';
      at += 1;
      continue;
    }
    const end = endOfValue(line, at);
    const text = end === -1 ? '' : line.slice(at, end);
    if (end === -1 || !isJson(text)) {
      yield { kind: 'broken', text: line.slice(at).replace(BLANK_END, '') };
      return;
    }
    yield { kind: char === '{' ? 'object' : 'other', text };
    at = end;
  }
}

/** A member of an object, with its value as it was written. */
export interface Member {
  name: string;
  raw: string;
}

/** The members of a valid JSON object in the order written, repeated names included (JSON.parse would keep only the last). */
export function membersOf(object: string): Member[] {
  const members: Member[] = [];
  let at = afterBlanks(object, 1);
  while (object[at] !== '}') {
    const nameEnd = endOfString(object, at);
    const valueAt = afterBlanks(object, afterBlanks(object, nameEnd) + 1); // past the colon
    const valueEnd = endOfValue(object, valueAt);
    members.push({ name: String(JSON.parse(object.slice(at, nameEnd))), raw: object.slice(valueAt, valueEnd) });
    at = afterBlanks(object, valueEnd);
    if (object[at] === ',') at = afterBlanks(object, at + 1);
  }
  return members;
}

function afterLayout(line: string, at: number): number {
  LAYOUT.lastIndex = at;
  LAYOUT.test(line);
  return LAYOUT.lastIndex;
}

function afterBlanks(text: string, from: number): number {
  let at = from;
  while (text[at] === ' ' || text[at] === '\t' || text[at] === '\r' || text[at] === '\n') at += 1;
  return at;
}

/** Where a value that starts here would end by its brackets and quotes; -1 when it never ends. The text in between may still not be JSON. */
function endOfValue(text: string, at: number): number {
  const char = text[at];
  if (char === '"') return endOfString(text, at);
  if (char === '{' || char === '[') return endOfBrackets(text, at);
  SCALAR.lastIndex = at;
  return SCALAR.test(text) ? SCALAR.lastIndex : -1;
}

function endOfString(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); quote !== -1; quote = text.indexOf('"', quote + 1)) {
    let backslashes = 0;
    while (text[quote - 1 - backslashes] === '\\') backslashes += 1;
    if (backslashes % 2 === 0) return quote + 1;
  }
  return -1;
}

function endOfBrackets(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length;) {
    const char = text[at];
    if (char === '"') {
      at = endOfString(text, at);
      if (at === -1) return -1;
      continue;
    }
    if (char === '{' || char === '[') depth += 1;
    if (char === '}' || char === ']') depth -= 1;
    at += 1;
    if (depth === 0) return at;
  }
  return -1;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
