import type { Material } from './material.ts';
import type { DefectFile } from './sheet.ts';

/** One way in which files go wrong, and how to make it. */
export interface Defect {
  readonly kind: string;
  /** What it is and what must come of it, in a sentence for people. */
  readonly what: string;
  /** @param times how often the defect is wanted; whole-file defects occur once */
  readonly mix: (material: Material, times: number) => Mixed;
}

export interface Mixed {
  /** How often the defect occurs. */
  count: number;
  drops: DefectFile[];
}

/** Calls `make` this many times; returns the results. */
export function repeated<T>(times: number, make: () => T): T[] {
  return Array.from({ length: times }, make);
}
