import type { LandingTable } from '../../../functions/core/steps.ts';
import { stemOf } from '../files.ts';
import { customerText, readingText } from '../records.ts';
import type { Members } from '../records.ts';

/** A whole landing file, and what the rules of docs/records.md must make of it. */
export interface DefectFile {
  readonly table: LandingTable;
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly landed: number;
  readonly rejected: number;
  readonly duplicates: number;
}

/** A file in the making: each addition says what it is, so that the file's counts are known without reading it. */
export class Sheet {
  readonly table: LandingTable;
  readonly #parts: Uint8Array[] = [];
  #landed = 0;
  #rejected = 0;
  #duplicates = 0;

  constructor(table: LandingTable) {
    this.table = table;
  }

  /** The text of a record as this table's clean files write it. */
  text(members: Members): string {
    return this.table === 'customer_landing' ? customerText(members) : readingText(members);
  }

  /** Valid records that are nowhere else. */
  fresh(text: string | Uint8Array, records = 1): this {
    this.#landed += records;
    return this.layout(text);
  }

  /** A line with a fresh record. */
  freshLine(members: Members): this {
    return this.fresh(`${this.text(members)}\n`);
  }

  /** A record that equals another one. */
  again(text: string): this {
    this.#landed += 1;
    this.#duplicates += 1;
    return this.layout(text);
  }

  /** A rejected record. */
  bad(text: string | Uint8Array): this {
    this.#landed += 1;
    this.#rejected += 1;
    return this.layout(text);
  }

  /** What is between records. */
  layout(text: string | Uint8Array): this {
    this.#parts.push(typeof text === 'string' ? Buffer.from(text) : text);
    return this;
  }

  /** The file. @param label ends its name: `<stem>-<label>` */
  drop(label: string, packed: (plain: Uint8Array) => Uint8Array = (plain) => plain): DefectFile {
    return this.dropNamed(`${stemOf(this.table)}-${label}`, packed);
  }

  dropNamed(name: string, packed: (plain: Uint8Array) => Uint8Array = (plain) => plain): DefectFile {
    return {
      table: this.table,
      name,
      bytes: packed(Buffer.concat(this.#parts)),
      landed: this.#landed,
      rejected: this.#rejected,
      duplicates: this.#duplicates,
    };
  }
}
