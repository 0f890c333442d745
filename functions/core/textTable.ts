import { markdownTable } from 'markdown-table';

/** A whole number with thousands separators, as in every report and table. Loading Intl would cost every command 30 ms. */
export function figure(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',');
}

export function filesText(count: number): string {
  return `${figure(count)} ${count === 1 ? 'file' : 'files'}`;
}

/** An aligned table, the same in a terminal, in an e-mail and in Markdown. Columns after the first are right-aligned. */
export function table(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  align: readonly ('l' | 'r')[] = header.map((_, i) => (i === 0 ? 'l' : 'r')),
): string {
  return markdownTable([[...header], ...rows.map((row) => row.map(inCell))], { align: [...align] });
}

// The lookbehind stops it from retrying inside a sequence of blanks: a record may hold millions.
const LINE_ENDS = /(?<!\s)\s*[\t\r\n]\s*/g;

/** A file name or a cause may hold anything; a cell is one line and ends at a bar. */
function inCell(text: string): string {
  return printable(text.replaceAll('|', '\\|').replace(LINE_ENDS, ' '));
}

/** Without control characters except tab and line feed, and without those that change the writing direction: a terminal would obey them. */
export function printable(text: string): string {
  return text.replace(/[^\P{Cc}\t\n]|[\u202a-\u202e\u2066-\u2069]/gu, '\ufffd');
}
