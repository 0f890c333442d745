import { FIELD_DEFECTS } from './defects/fields.ts';
import type { Defect } from './defects/defect.ts';
import { LAYOUT_DEFECTS, LONG_LINE } from './defects/layout.ts';
import type { Material } from './defects/material.ts';
import { MEANING_DEFECTS } from './defects/meaning.ts';
import type { DefectFile } from './defects/sheet.ts';

/** With this many customers a 20 MB line is a small part of the data. */
const CUSTOMERS_FOR_LONG_LINE = 5_000;

/** Defects of one kind that were mixed in. */
export interface MixedIn {
  kind: string;
  /** How many: records, lines or files, as `what` says. */
  count: number;
  what: string;
}

/**
 * Makes files with every kind of defect, one kind after the other, and hands them on. Their number grows with the number of customers
 * and stays far below what makes a run fail; clean files are not touched.
 */
export async function mixDefects(
  customers: number,
  material: Material,
  write: (drop: DefectFile) => Promise<void>,
): Promise<MixedIn[]> {
  const times = Math.max(1, Math.floor(customers / 956));
  const defects: MixedIn[] = [];
  for (const { kind, what, mix } of kindsFor(customers)) {
    const { count, drops } = mix(material, times);
    for (const drop of drops) await write(drop);
    defects.push({ kind, count, what });
  }
  return defects;
}

function kindsFor(customers: number): readonly Defect[] {
  const kinds = [...LAYOUT_DEFECTS, ...FIELD_DEFECTS, ...MEANING_DEFECTS];
  return customers >= CUSTOMERS_FOR_LONG_LINE ? [...kinds, LONG_LINE] : kinds;
}
