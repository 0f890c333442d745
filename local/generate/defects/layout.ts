import { constants, gzipSync } from 'node:zlib';
import { repeated } from './defect.ts';
import type { Defect } from './defect.ts';
import type { Material } from './material.ts';
import { Sheet } from './sheet.ts';

/** Files whose layout is not one JSON object per line: most of them are fine, some are broken. */
export const LAYOUT_DEFECTS: readonly Defect[] = [
  {
    kind: 'several_on_one_line',
    what: 'lines with three objects each, with and without blanks and commas between them; all are read',
    mix: (material, times) => {
      const sheet = new Sheet('accelerometer_landing');
      const separators = ['', ' ', ',', ' ,\t'];
      for (let line = 0; line < times; line += 1) {
        const separator = separators[line % separators.length] ?? '';
        sheet.fresh(`${threeMotions(material, sheet).join(separator)}\n`, 3);
      }
      return { count: times, drops: [sheet.drop('several-on-one-line.json')] };
    },
  },
  {
    kind: 'array_on_one_line',
    what: 'lines that are an array of objects; the objects are read',
    mix: (material, times) => {
      const sheet = new Sheet('accelerometer_landing');
      for (let line = 0; line < times; line += 1) sheet.fresh(`[${threeMotions(material, sheet).join(', ')}]\n`, 3);
      return { count: times, drops: [sheet.drop('array-on-one-line.json')] };
    },
  },
  {
    kind: 'array_over_lines',
    what: 'a file that is one array, an object on each line; the objects are read',
    mix: (material, times) => {
      const sheet = new Sheet('step_trainer_landing');
      const records = repeated(times + 1, () => `  ${sheet.text(material.freshStep())}`);
      sheet.fresh(`[\n${records.join(',\n')}\n]\n`, records.length);
      return { count: 1, drops: [sheet.drop('array-over-lines.json')] };
    },
  },
  {
    kind: 'gzip_with_gz_name',
    what: 'a gzip file with a .gz name; it is decompressed',
    mix: (material, times) => {
      const sheet = new Sheet('step_trainer_landing');
      for (let line = 0; line <= times; line += 1) sheet.freshLine(material.freshStep());
      return { count: 1, drops: [sheet.drop('compressed.json.gz', gzip)] };
    },
  },
  {
    kind: 'gzip_without_gz_name',
    what: 'a gzip file whose name does not say so; it is decompressed',
    mix: (material, times) => {
      const sheet = new Sheet('accelerometer_landing');
      for (let line = 0; line <= times; line += 1) sheet.freshLine(material.freshMotion());
      return { count: 1, drops: [sheet.drop('compressed-without-gz.json', gzip)] };
    },
  },
  {
    kind: 'broken_gzip',
    what: 'a gzip file that ends too early; the file is one rejected record',
    mix: (material, times) => {
      const content = new Sheet('customer_landing');
      for (let line = 0; line <= times; line += 1) content.freshLine(material.freshCustomer());
      const whole = content.drop('', gzip).bytes;
      const sheet = new Sheet('customer_landing').bad(whole.subarray(0, Math.floor(whole.length / 2)));
      return { count: 1, drops: [sheet.drop('broken.json.gz')] };
    },
  },
  {
    kind: 'torn_last_line',
    what: 'a file whose last line breaks off; what stands before is read, the torn record is rejected',
    mix: (material, times) => {
      const sheet = new Sheet('step_trainer_landing');
      for (let line = 0; line < times; line += 1) sheet.freshLine(material.freshStep());
      const torn = sheet.text(material.freshStep());
      sheet.bad(torn.slice(0, Math.floor(torn.length / 2)));
      return { count: 1, drops: [sheet.drop('torn.json')] };
    },
  },
  {
    kind: 'broken_line',
    what: 'a line that is fine up to a point; what stands before the break is read, the rest of the line is one rejected record',
    mix: (material, times) => {
      const sheet = new Sheet('accelerometer_landing');
      for (let line = 0; line < times; line += 1) {
        sheet.fresh(sheet.text(material.freshMotion()));
        sheet.bad(`, {"user": nobody} ${sheet.text(material.freshMotion())}\n`);
        sheet.freshLine(material.freshMotion());
      }
      return { count: times, drops: [sheet.drop('broken-lines.json')] };
    },
  },
  {
    kind: 'trailing_commas',
    what: 'lines that end with a comma; they are read',
    mix: (material, times) => {
      const sheet = new Sheet('customer_landing');
      for (let line = 0; line < times; line += 1) sheet.fresh(`${sheet.text(material.freshCustomer())},\n`);
      return { count: times, drops: [sheet.drop('trailing-commas.json')] };
    },
  },
  {
    kind: 'blank_lines',
    what: 'blank lines, and lines that end as on Windows; nothing comes of them',
    mix: (material, times) => {
      const sheet = new Sheet('accelerometer_landing').layout('\n');
      for (let line = 0; line < times; line += 1) sheet.fresh(`${sheet.text(material.freshMotion())}\r\n`).layout(' \t \r\n');
      return { count: times + 1, drops: [sheet.drop('blank-lines.json')] };
    },
  },
  {
    kind: 'byte_order_mark',
    what: 'a file that starts with a byte order mark; the mark is skipped',
    mix: (material) => {
      const sheet = new Sheet('customer_landing').layout('\ufeff').freshLine(material.freshCustomer());
      return { count: 1, drops: [sheet.drop('byte-order-mark.json')] };
    },
  },
  {
    kind: 'not_utf8',
    what: 'lines with bytes that are not UTF-8; each is one rejected record',
    mix: (material, times) => {
      const sheet = new Sheet('customer_landing');
      for (let line = 0; line < times; line += 1) {
        const person = material.stranger();
        const record = `${sheet.text(material.freshCustomer({ ...person, customerName: `Ren\u00e9e ${person.customerName}` }))}\n`;
        // The accented letter becomes the byte E9, as in a file from an old office program.
        sheet.bad(Buffer.from(record, 'latin1'));
      }
      sheet.freshLine(material.freshCustomer());
      return { count: times, drops: [sheet.drop('not-utf8.json')] };
    },
  },
  {
    kind: 'not_an_object',
    what: 'values that are no object: a number, a string, a word, an array inside an array; each is a rejected record',
    mix: (material, times) => {
      const sheet = new Sheet('step_trainer_landing');
      for (let round = 0; round < times; round += 1) {
        sheet.bad('42\n').bad('"a reading"\n').bad('null ').freshLine(material.freshStep());
        sheet
          .layout('[')
          .bad(`[${sheet.text(material.freshStep())}]`)
          .layout(', ')
          .fresh(sheet.text(material.freshStep()))
          .layout(']\n');
      }
      return { count: 4 * times, drops: [sheet.drop('not-objects.json')] };
    },
  },
  {
    kind: 'not_json',
    what: 'the lines of a file that is not JSON at all (an error page saved as readings); each is a rejected record',
    mix: (_material, times) => {
      const sheet = new Sheet('step_trainer_landing');
      sheet.bad('<html>\n').bad('<h1>502 Bad Gateway</h1>\n');
      for (let line = 0; line < times; line += 1) sheet.bad('  <p>Please try again later.</p>\n');
      sheet.bad('</html>\n');
      return { count: times + 3, drops: [sheet.drop('error-page.json')] };
    },
  },
  {
    kind: 'empty_file',
    what: 'a file of zero bytes; it is loaded with zero records',
    mix: () => ({ count: 1, drops: [new Sheet('step_trainer_landing').drop('empty.json')] }),
  },
  {
    kind: 'odd_file_name',
    what: 'a file whose name has blanks, quotes and letters beyond ASCII; it is read like any other',
    mix: (material) => {
      const sheet = new Sheet('customer_landing').freshLine(material.freshCustomer());
      return { count: 1, drops: [sheet.dropNamed(`customer "\u00e9t\u00e9" – l'export n\u00b0 1.json`)] };
    },
  },
];

/** Small sets go without it: it would be most of their bytes. */
export const LONG_LINE: Defect = {
  kind: 'long_line',
  what: 'a line of 20 MB, most of it in a field nobody knows; the record is read without that field',
  mix: (material) => {
    const sheet = new Sheet('step_trainer_landing').freshLine(material.freshStep());
    sheet.freshLine([...material.freshStep(), ['trace', `"${'0123456789abcdef'.repeat(1_250_000)}"`]]);
    sheet.freshLine(material.freshStep());
    return { count: 1, drops: [sheet.drop('long-line.json')] };
  },
};

function threeMotions(material: Material, sheet: Sheet): string[] {
  return repeated(3, () => sheet.text(material.freshMotion()));
}

/** Huffman coding alone: how zlib finds repetitions differs between processors, and the same seed must give the same bytes. */
function gzip(plain: Uint8Array): Uint8Array {
  const packed = gzipSync(plain, { strategy: constants.Z_HUFFMAN_ONLY });
  // The header's byte for the operating system: unknown.
  packed[9] = 255;
  return packed;
}
