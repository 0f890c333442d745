import fc from 'fast-check';
import { gzipSync } from 'node:zlib';
import type { LandingTable } from '../reference/index.ts';

/** Small worlds of landing files whose records meet: few people, devices and times, and many ways to write them. */
export interface WorldFile {
  table: LandingTable;
  bytes: Uint8Array;
}

const TIME = 1_655_564_376_000;
const BROKEN = '\u0000broken\u0000';

/** One of these texts; the first ones more often, and shrinking leads there. */
function oneOf(usual: readonly string[], odd: readonly string[] = []): fc.Arbitrary<string> {
  return odd.length === 0
    ? fc.constantFrom(...usual)
    : fc.oneof({ weight: 12, arbitrary: fc.constantFrom(...usual) }, { weight: 1, arbitrary: fc.constantFrom(...odd) });
}

const people = ['"ann@x.org"', '"ben@x.org"', '"cem@x.org"', '"dör@x.org"'];
const oddPeople = [
  '" Ann@X.ORG\\t"',
  '"BEN@x.org\\u00a0"',
  '""',
  'null',
  '5',
  '{"a":1}',
  '"\\ud800@x.org"',
  '"it\'s@x.org"',
  '"Ä@x.org"',
];
const devices = ['"d1"', '"d2"', '"d3"'];
const oddDevices = ['" d1 "', '"D1"', 'null', '""', '7', '7.0', '7.5', 'true'];
const times = [0, 1, 2].map((at) => String(TIME + at * 10));
const oddTimes = [
  `"${TIME}"`,
  `${TIME}.0`,
  `${TIME}.5`,
  '0',
  '-1',
  '253402300799999',
  '253402300800000',
  '1e3',
  '99999999999999999999',
  'null',
  '[]',
];
const consents = ['0', String(TIME - 10), String(TIME + 10), String(TIME + 20)];
const oddConsents = ['null', '""', '-5', `"${TIME}"`, 'false'];
const updates = ['1', '2', '3', '4'];
const distances = ['200', '201'];
const oddDistances = ['"200"', '200.0', '12.5', '-0', '""', 'null', '9223372036854775807', '9223372036854775808'];
const coordinates = ['0.5', '-1.25'];
const oddCoordinates = ['-0', '0', '-0.0', '1e3', '"0.5"', '1e400', '"NaN"', 'null', '5e-324', '"+1"', '01', 'NaN'];

type Field = readonly [spellings: readonly string[], value: fc.Arbitrary<string>, optional: boolean];

const FIELDS: Record<LandingTable, readonly Field[]> = {
  customer_landing: [
    [['customerName', 'CUSTOMERNAME'], oneOf(['"A"', '"B"'], ['" A "', '5']), true],
    [['email', 'Email'], oneOf(people, oddPeople), false],
    [['serialNumber', 'serialnumber'], oneOf(devices, oddDevices), true],
    [['lastUpdateDate'], oneOf(updates, ['null', '2.5']), true],
    [['shareWithResearchAsOfDate', 'sharewithresearchasofdate'], oneOf(consents, oddConsents), true],
  ],
  accelerometer_landing: [
    [['user', 'USER'], oneOf(people, oddPeople), false],
    [['timestamp', 'timeStamp'], oneOf(times, oddTimes), false],
    [['x'], oneOf(coordinates, oddCoordinates), false],
    [['y'], oneOf(coordinates, oddCoordinates), false],
    [['z', 'Z'], oneOf(coordinates), false],
  ],
  step_trainer_landing: [
    [['sensorReadingTime', 'sensorreadingtime'], oneOf(times, oddTimes), false],
    [['serialNumber', 'serialnumber'], oneOf(devices, oddDevices), false],
    [['distanceFromObject'], oneOf(distances, oddDistances), false],
  ],
};

/** A record as every well-behaved program writes it: fields in one order, usual values. */
function cleanRecord(table: LandingTable): fc.Arbitrary<string> {
  const usual: Record<LandingTable, fc.Arbitrary<string>[]> = {
    customer_landing: [oneOf(['"A"']), oneOf(people.slice(0, 3)), oneOf(devices), oneOf(updates), oneOf(consents)],
    accelerometer_landing: [oneOf(people.slice(0, 3)), oneOf(times), oneOf(coordinates), oneOf(coordinates), oneOf(['0.25'])],
    step_trainer_landing: [oneOf(times), oneOf(devices), oneOf(distances)],
  };
  const names = FIELDS[table].map(([[name = '']]) => name);
  return fc.tuple(...usual[table]).map((values) => `{${values.map((value, at) => `"${names[at] ?? ''}":${value}`).join(',')}}`);
}

/** A record with anything that records have: fields missing, added, repeated, in any order and spelling, odd values. */
function anyRecord(table: LandingTable): fc.Arbitrary<string> {
  const members = FIELDS[table].map(([spellings, value, optional]) =>
    fc
      .tuple(
        oneOf(spellings.slice(0, 1), spellings),
        value,
        fc.oneof({ weight: optional ? 4 : 30, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
      )
      .map(([name, text, there]) => (there ? [`"${name}":${text}`] : [])),
  );
  const extra = fc.oneof(
    { weight: 20, arbitrary: fc.constant<string[]>([]) },
    { weight: 1, arbitrary: fc.constantFrom(['"other":[1,{"email":2}]'], ['"email":"twice@x.org"'], ['"x":1']) },
  );
  const blank = oneOf(['', ' '], ['\t', '\r']);
  return fc.tuple(fc.tuple(...members), extra, fc.boolean(), blank).map(([all, more, backwards, gap]) => {
    const list = [...all.flat(), ...more];
    return `{${(backwards ? list.reverse() : list).map((member) => member.replace(':', `:${gap}`)).join(`,${gap}`)}}`;
  });
}

/** A line of a file that is not clean. */
function anyLine(table: LandingTable): fc.Arbitrary<string> {
  const record = fc.oneof(cleanRecord(table), anyRecord(table));
  return fc.oneof(
    { weight: 10, arbitrary: record },
    { weight: 1, arbitrary: fc.tuple(record, record).map(([one, other]) => `${one}${other},`) },
    { weight: 1, arbitrary: fc.tuple(record, record).map(([one, other]) => `[${one}, ${other}]`) },
    { weight: 1, arbitrary: fc.tuple(record, record).map(([one, other]) => `${one} ${other.slice(0, -2)}`) },
    { weight: 1, arbitrary: fc.constantFrom('', '  ', ',', ']', '[', 'rubbish', '1', '"text" null', '[[1]]', '{', BROKEN) },
  );
}

const layout = fc.record({
  end: fc.constantFrom('\n', '\r\n'),
  last: fc.boolean(),
  mark: fc.oneof({ weight: 6, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  gzip: fc.oneof({ weight: 6, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
});

function bytesOf(
  lines: readonly string[],
  { end, last, mark, gzip }: { end: string; last: boolean; mark: boolean; gzip: boolean },
) {
  const [before, ...rest] = `${mark ? '\ufeff' : ''}${lines.join(end)}${last ? end : ''}`.split(BROKEN);
  const parts = [Buffer.from(before ?? ''), ...rest.flatMap((text) => [Buffer.from([0x22, 0xff, 0xfe]), Buffer.from(text)])];
  const bytes = Buffer.concat(parts);
  return gzip ? gzipSync(bytes) : bytes;
}

const table: fc.Arbitrary<LandingTable> = fc.constantFrom('customer_landing', 'accelerometer_landing', 'step_trainer_landing');

/** The lines of one file of a table. */
function fileLines(of: LandingTable): fc.Arbitrary<string[]> {
  return fc.oneof(
    { weight: 2, arbitrary: fc.array(cleanRecord(of), { minLength: 1, maxLength: 8 }) },
    { weight: 3, arbitrary: fc.array(anyLine(of), { maxLength: 6 }) },
  );
}

const worldFile: fc.Arbitrary<WorldFile> = table.chain((of) =>
  fc.tuple(fileLines(of), layout).map(([lines, how]) => ({ table: of, bytes: bytesOf(lines, how) })),
);

/** Files of all three tables, so that something comes out at the end. */
export const world: fc.Arbitrary<WorldFile[]> = fc
  .tuple(
    fc.tuple(
      ...(['customer_landing', 'accelerometer_landing', 'step_trainer_landing'] as const).map((of) =>
        fc.array(cleanRecord(of), { minLength: 3, maxLength: 8 }).map((lines): WorldFile => ({
          table: of,
          bytes: bytesOf(lines, { end: '\n', last: true, mark: false, gzip: false }),
        })),
      ),
    ),
    fc.array(worldFile, { minLength: 1, maxLength: 5 }),
  )
  .map(([clean, any]) => [...clean, ...any]);

/** Lines of a file that may be in any order: each one stands for itself. */
export const shuffled: fc.Arbitrary<{ table: LandingTable; lines: string[]; other: string[] }> = table.chain((of) =>
  fileLines(of).chain((lines) =>
    fc
      .shuffledSubarray(lines, { minLength: lines.length, maxLength: lines.length })
      .map((other) => ({ table: of, lines, other })),
  ),
);

export function fileOf(of: LandingTable, lines: readonly string[]): WorldFile {
  return { table: of, bytes: bytesOf(lines, { end: '\n', last: true, mark: false, gzip: false }) };
}

// Damaged bytes

const span = fc.tuple(fc.nat(), fc.nat(60));
const LAYOUT = [
  '[',
  ']',
  ',',
  '\n',
  '\r',
  ' ',
  '\t',
  '\ufeff',
  '\0',
  '"',
  '\\',
  '{',
  '}',
  ':',
  '[[',
  ']]',
  '\\u0000',
  '\u00a0',
  '\u2028',
  '-',
  '0',
  'e9',
]
  .map((text) => Buffer.from(text))
  .concat([0x80, 0xc3, 0xe2, 0xf5, 0x1f].map((byte) => Buffer.from([byte])));

/** Something that happens to bytes. Positions wrap at the end, so that each fits any file. */
const mutation: fc.Arbitrary<(bytes: Buffer) => Buffer> = fc.oneof(
  fc.tuple(fc.nat(), fc.nat(7)).map(([at, bit]) => (bytes: Buffer) => {
    const flipped = Buffer.from(bytes);
    const place = at % Math.max(1, bytes.length);
    if (flipped.length > 0) flipped.writeUInt8(flipped.readUInt8(place) ^ (1 << bit), place);
    return flipped;
  }),
  fc.nat().map((at) => (bytes: Buffer) => bytes.subarray(0, at % (bytes.length + 1))),
  span.map(([at, length]) => (bytes: Buffer) => {
    const from = at % (bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + length)]);
  }),
  fc.tuple(span, fc.nat()).map(([[at, length], to]) => (bytes: Buffer) => {
    const from = at % (bytes.length + 1);
    const place = to % (bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, place), bytes.subarray(from, from + length), bytes.subarray(place)]);
  }),
  fc.tuple(fc.nat(), fc.constantFrom(...LAYOUT)).map(([at, inserted]) => (bytes: Buffer) => {
    const place = at % (bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, place), inserted, bytes.subarray(place)]);
  }),
);

/** A file of records, valid at first, damaged in up to five ways. */
export const damagedFile: fc.Arbitrary<WorldFile> = fc
  .tuple(
    fc.oneof(
      {
        weight: 3,
        arbitrary: table.chain((of) =>
          fc.array(cleanRecord(of), { minLength: 1, maxLength: 5 }).map((lines) => fileOf(of, lines)),
        ),
      },
      { weight: 1, arbitrary: worldFile },
    ),
    fc.array(mutation, { minLength: 1, maxLength: 5 }),
  )
  .map(([file, mutations]) => ({
    ...file,
    bytes: mutations.reduce<Buffer>((bytes, mutate) => mutate(bytes), Buffer.from(file.bytes)),
  }));
