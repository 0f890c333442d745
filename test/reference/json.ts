// A strict reader of one JSON value (RFC 8259): recursive descent, nothing skipped, nothing repaired. Unlike JSON.parse it starts
// anywhere in a text, says where the value ends, keeps numbers as they are written and keeps every member of an object.

export type Json =
  | { kind: 'null' }
  | { kind: 'boolean'; value: boolean }
  | { kind: 'number'; text: string }
  | { kind: 'string'; value: string }
  | { kind: 'array'; items: Json[] }
  | { kind: 'object'; members: Member[] };

export interface Member {
  name: string;
  value: Json;
}

/** The longest text from `start` that is one JSON value, or nothing when there is none. */
export function jsonAt(text: string, start: number): { value: Json; end: number } | undefined {
  const reader = new Reader(text, start);
  try {
    const value = reader.value();
    return { value, end: reader.at };
  } catch (error) {
    if (error instanceof NotJson) return undefined;
    throw error;
  }
}

class NotJson extends Error {}

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const FOUR_HEX_DIGITS = /^[0-9A-Fa-f]{4}$/;
const ESCAPES = new Map([
  ['"', '"'],
  ['\\', '\\'],
  ['/', '/'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
]);

class Reader {
  readonly text: string;
  at: number;

  constructor(text: string, start: number) {
    this.text = text;
    this.at = start;
  }

  value(): Json {
    switch (this.text[this.at]) {
      case '{':
        return { kind: 'object', members: this.members() };
      case '[':
        return { kind: 'array', items: this.items() };
      case '"':
        return { kind: 'string', value: this.string() };
      case 't':
        return this.word('true', { kind: 'boolean', value: true });
      case 'f':
        return this.word('false', { kind: 'boolean', value: false });
      case 'n':
        return this.word('null', { kind: 'null' });
      default:
        return { kind: 'number', text: this.number() };
    }
  }

  members(): Member[] {
    const members: Member[] = [];
    this.take('{');
    this.blanks();
    if (this.taken('}')) return members;
    do {
      this.blanks();
      const name = this.string();
      this.blanks();
      this.take(':');
      this.blanks();
      members.push({ name, value: this.value() });
      this.blanks();
    } while (this.taken(','));
    this.take('}');
    return members;
  }

  items(): Json[] {
    const items: Json[] = [];
    this.take('[');
    this.blanks();
    if (this.taken(']')) return items;
    do {
      this.blanks();
      items.push(this.value());
      this.blanks();
    } while (this.taken(','));
    this.take(']');
    return items;
  }

  string(): string {
    let value = '';
    this.take('"');
    let plainFrom = this.at;
    for (;;) {
      const char = this.text[this.at];
      if (char === undefined || char < ' ') throw new NotJson();
      if (char === '"' || char === '\\') {
        value += this.text.slice(plainFrom, this.at);
        this.at += 1;
        if (char === '"') return value;
        value += this.escaped();
        plainFrom = this.at;
      } else {
        this.at += 1;
      }
    }
  }

  escaped(): string {
    const char = this.text[this.at];
    this.at += 1;
    if (char === 'u') return this.codeUnit();
    const meant = char === undefined ? undefined : ESCAPES.get(char);
    if (meant === undefined) throw new NotJson();
    return meant;
  }

  codeUnit(): string {
    const digits = this.text.slice(this.at, this.at + 4);
    if (!FOUR_HEX_DIGITS.test(digits)) throw new NotJson();
    this.at += 4;
    return String.fromCharCode(Number.parseInt(digits, 16));
  }

  number(): string {
    NUMBER.lastIndex = this.at;
    const digits = NUMBER.exec(this.text)?.[0];
    if (digits === undefined) throw new NotJson();
    this.at += digits.length;
    return digits;
  }

  word(word: string, value: Json): Json {
    if (!this.text.startsWith(word, this.at)) throw new NotJson();
    this.at += word.length;
    return value;
  }

  blanks(): void {
    while (this.taken(' ') || this.taken('\t') || this.taken('\n') || this.taken('\r')) continue;
  }

  taken(char: string): boolean {
    if (this.text[this.at] !== char) return false;
    this.at += 1;
    return true;
  }

  take(char: string): void {
    if (!this.taken(char)) throw new NotJson();
  }
}
