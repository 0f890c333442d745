import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { loadCases } from '../cases/load.ts';
import { jsonAt, read, ReferenceLake, sorted, type Json, type LandedFile, type LandingTable, type Policy } from './index.ts';

const ANY_TIME: Policy = { mlJoin: 'person-and-time', consentFrom: 'any-time' };
const CONSENT_DATE: Policy = { mlJoin: 'person-and-time', consentFrom: 'consent-date' };
const JOIN_ON_TIME: Policy = { mlJoin: 'time', consentFrom: 'any-time' };

// The cases of test/cases

const cases = loadCases();
const themes = [...new Set(cases.map((one) => one.theme))];

describe.each(themes)('staging cases: %s', (theme) => {
  const own = cases.filter((one) => one.theme === theme);

  test.each(own)('$name', ({ runs, expect: expected }) => {
    const lake = new ReferenceLake(ANY_TIME);
    for (const { files, runId } of runs) lake.run(files, runId);
    const tables = lake.tables();
    expect(sorted(tables.rejected)).toEqual(sorted(expected.rejected));
    expect(sorted(tables.customer_staging)).toEqual(sorted(expected.customer_staging));
    expect(sorted(tables.accelerometer_staging)).toEqual(sorted(expected.accelerometer_staging));
    expect(sorted(tables.step_trainer_staging)).toEqual(sorted(expected.step_trainer_staging));
    expect(sorted(tables.loads)).toEqual(sorted(expected.loads));
  });
});

describe('the cases themselves', () => {
  test('have names of their own', () => {
    expect(new Set(cases.map((one) => one.name)).size).toBe(cases.length);
  });

  test.each(cases)('conserve records: $theme, $name', ({ expect: expected }) => {
    for (const load of expected.loads) expect(load.staged + load.duplicate + load.rejected).toBe(load.landed);
    const staged =
      expected.customer_staging.length + expected.accelerometer_staging.length + expected.step_trainer_staging.length;
    expect(sum(expected.loads.map((load) => load.staged))).toBe(BigInt(staged));
    expect(sum(expected.loads.map((load) => load.rejected))).toBe(BigInt(expected.rejected.length));
  });
});

function sum(numbers: bigint[]): bigint {
  return numbers.reduce((total, number) => total + number, 0n);
}

// Too large to be a case that every reader runs

test('a line of more than 256 MiB is one rejected record', () => {
  const bytes = Buffer.alloc(256 * 1024 * 1024 + 4, ' ');
  bytes.write('5\n', 0);
  bytes.write('\n', bytes.length - 1); // line 2 is one byte too long
  expect(read(bytes)).toEqual([
    { kind: 'broken', line: 1, position: 1, text: '5', encoding: 'utf-8', reason: 'not_an_object' },
    { kind: 'broken', line: 2, position: 1, text: '', encoding: 'utf-8', reason: 'line_too_long' },
  ]);
});

// The reader of JSON, against the one that Node has

describe('the longest text that is one JSON value', () => {
  const pieces = [
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"a"',
    '"',
    '\\',
    'u0041',
    '0',
    '1',
    '-',
    '.',
    'e',
    '+',
    'true',
    'null',
    ' ',
    'x',
  ];
  const nearlyJson = fc.array(fc.constantFrom(...pieces), { maxLength: 12 }).map((chosen) => chosen.join(''));

  test('is the longest beginning that JSON.parse takes', () => {
    fc.assert(
      fc.property(nearlyJson, (text) => {
        expect(jsonAt(text, 0)?.end).toBe(longestBeginning(text));
      }),
      { numRuns: 20_000 },
    );
  });

  test('holds what JSON.parse reads', () => {
    fc.assert(
      fc.property(fc.json(), fc.string(), (json, before) => {
        const found = jsonAt(before + json, before.length);
        expect(found?.end).toBe(before.length + json.length);
        expect(JSON.parse(found === undefined ? 'nothing' : written(found.value))).toEqual(JSON.parse(json));
      }),
    );
  });
});

function longestBeginning(text: string): number | undefined {
  if (text.startsWith(' ')) return undefined;
  const ends = Array.from({ length: text.length }, (_, index) => text.length - index);
  return ends.find((end) => !text.slice(0, end).endsWith(' ') && isJson(text.slice(0, end)));
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function written(value: Json): string {
  switch (value.kind) {
    case 'object':
      return `{${value.members.map((member) => `${JSON.stringify(member.name)}:${written(member.value)}`).join(',')}}`;
    case 'array':
      return `[${value.items.map(written).join(',')}]`;
    case 'number':
      return value.text;
    case 'null':
      return 'null';
    default:
      return JSON.stringify(value.value);
  }
}

// From staging to the curated tables

describe('the current customer', () => {
  test('has the highest lastUpdateDate, null being the lowest', () => {
    const lake = lakeOf({
      customers: [
        { email: 'ann', lastUpdateDate: 9, shareWithResearchAsOfDate: 1 },
        { email: 'ann', lastUpdateDate: 10 },
        { email: 'bo', lastUpdateDate: 9 },
        { email: 'bo', lastUpdateDate: 10, shareWithResearchAsOfDate: 1 },
        { email: 'cy', shareWithResearchAsOfDate: 1 },
        { email: 'cy', lastUpdateDate: -5 },
        { email: 'di', shareWithResearchAsOfDate: 1 },
      ],
    });
    expect(
      lake
        .tables()
        .customer_trusted.map((customer) => customer.email)
        .sort(),
    ).toEqual(['bo', 'di']);
  });

  const sharing = { shareWithResearchAsOfDate: 5 };
  test.each([
    { tie: 'no consent to research', decides: { phone: '2' }, other: { ...sharing, phone: '1' } },
    {
      tie: 'the earlier consent to research',
      decides: { shareWithResearchAsOfDate: 4, phone: '2' },
      other: { ...sharing, phone: '1' },
    },
    {
      tie: 'no consent to the public',
      decides: { ...sharing, phone: '2' },
      other: { ...sharing, shareWithPublicAsOfDate: 1, phone: '1' },
    },
    {
      tie: 'no consent to friends',
      decides: { ...sharing, phone: '2' },
      other: { ...sharing, shareWithFriendsAsOfDate: 1, phone: '1' },
    },
    {
      tie: 'the earlier registration',
      decides: { ...sharing, registrationDate: 9, phone: '2' },
      other: { ...sharing, registrationDate: 10 },
    },
    { tie: 'no device', decides: { ...sharing, customerName: 'b' }, other: { ...sharing, serialNumber: 's', customerName: 'a' } },
    { tie: 'the lower device', decides: { ...sharing, serialNumber: 'S', phone: '2' }, other: { ...sharing, serialNumber: 'a' } },
    {
      tie: 'the lower name, by its bytes',
      decides: { ...sharing, customerName: '～', phone: '2' },
      other: { ...sharing, customerName: '😀' },
    },
    { tie: 'the lower phone', decides: { ...sharing, phone: '10', birthDay: '2' }, other: { ...sharing, phone: '9' } },
    { tie: 'no birth day', decides: sharing, other: { ...sharing, birthDay: '1' } },
  ])('is at a tie the record with $tie', ({ decides, other }) => {
    const a = { ...decides, email: 'ann', lastUpdateDate: 7 };
    const b = { ...other, email: 'ann', lastUpdateDate: 7 };
    const expected = sorted(lakeOf({ customers: [a] }).tables().customer_trusted);
    expect(sorted(lakeOf({ customers: [a, b] }).tables().customer_trusted)).toEqual(expected);
    expect(sorted(lakeOf({ customers: [b, a] }).tables().customer_trusted)).toEqual(expected);
  });
});

describe('readings', () => {
  const records: Records = {
    customers: [
      { email: 'ann', serialNumber: 's-ann', shareWithResearchAsOfDate: 1000 },
      { email: 'bo', serialNumber: 's-bo' },
      { email: 'cy', serialNumber: 's-cy', shareWithResearchAsOfDate: 2000 },
      { email: 'di', serialNumber: 's-two', shareWithResearchAsOfDate: 1 },
      { email: 'ed', serialNumber: 's-two' },
      { email: 'fay', serialNumber: 's-fay', shareWithResearchAsOfDate: 1 },
      { email: 'gus', serialNumber: 's-gone', lastUpdateDate: 1, shareWithResearchAsOfDate: 1 },
      { email: 'gus', lastUpdateDate: 2, shareWithResearchAsOfDate: 1 },
    ],
    motions: [motion('ann', 1000), motion('ann', 999), motion('bo', 1000), motion('cy', 1500), motion('nobody', 1000)],
    steps: [
      ...[step('s-ann', 1000), step('s-ann', 999), step('s-bo', 1000), step('s-cy', 1500), step('s-cy', 2500)],
      ...[step('s-two', 1000), step('s-fay', 1000), step('s-gone', 1000), step('s-none', 1000)],
    ],
  };

  test('are withheld under one reason each', () => {
    const lake = lakeOf(records);
    const tables = lake.tables();
    expect(tables.accelerometer_trusted.map((row) => `${row.user} ${row.timestamp}`)).toEqual(['ann 1000', 'ann 999', 'cy 1500']);
    expect(tables.customers_curated.map((row) => row.email)).toEqual(['ann', 'cy']);
    expect(sorted(tables.step_trainer_trusted)).toEqual([
      '{"distancefromobject":201,"email":"ann","reading_date":"1970-01-01","sensorreadingtime":1000,"serialnumber":"s-ann"}',
      '{"distancefromobject":201,"email":"ann","reading_date":"1970-01-01","sensorreadingtime":999,"serialnumber":"s-ann"}',
      '{"distancefromobject":201,"email":"cy","reading_date":"1970-01-01","sensorreadingtime":1500,"serialnumber":"s-cy"}',
      '{"distancefromobject":201,"email":"cy","reading_date":"1970-01-01","sensorreadingtime":2500,"serialnumber":"s-cy"}',
    ]);
    expect(lake.withheld()).toEqual({
      accelerometer: { no_consent: 1, unknown_customer: 1 },
      step_trainer: { no_consent: 1, ambiguous_device: 1, no_motion: 1, unknown_device: 2 },
    });
  });

  test('made before the consent are withheld only where the policy says so', () => {
    const lake = lakeOf(records, CONSENT_DATE);
    const tables = lake.tables();
    expect(tables.accelerometer_trusted.map((row) => `${row.user} ${row.timestamp}`)).toEqual(['ann 1000']);
    expect(tables.customers_curated.map((row) => row.email)).toEqual(['ann']);
    expect(tables.step_trainer_trusted.map((row) => `${row.email} ${row.sensorreadingtime}`)).toEqual(['ann 1000']);
    expect(lake.withheld()).toEqual({
      accelerometer: { before_consent: 2, no_consent: 1, unknown_customer: 1 },
      step_trainer: { before_consent: 2, no_consent: 1, ambiguous_device: 1, no_motion: 2, unknown_device: 2 },
    });
  });

  test('follow a later run that brings a withdrawal or a policy', () => {
    const lake = lakeOf(records);
    lake.run([], 'run-2', CONSENT_DATE);
    expect(lake.tables().accelerometer_trusted).toHaveLength(1);
    lake.run(files({ customers: [{ email: 'ann', serialNumber: 's-ann', lastUpdateDate: 1 }] }, 'later'), 'run-3');
    expect(lake.tables()).toMatchObject({ accelerometer_trusted: [], customers_curated: [], step_trainer_trusted: [] });
    expect(lake.tables().loads.map((load) => load.run_id)).toEqual(['run-1', 'run-1', 'run-1', 'run-3']);
  });
});

describe('pairs', () => {
  const records: Records = {
    customers: [
      { email: 'ann', serialNumber: 's-ann', shareWithResearchAsOfDate: 1 },
      { email: 'bo', serialNumber: 's-bo', shareWithResearchAsOfDate: 1 },
    ],
    motions: [motion('ann', 1000, 1), motion('ann', 1000, 2), motion('bo', 1000, 3), motion('bo', 2000, 4)],
    steps: [step('s-ann', 1000, 201), step('s-ann', 1000, 202), step('s-ann', 2000, 203)],
  };

  test('are of the same person at the same time', () => {
    expect(sorted(lakeOf(records).tables().machine_learning_curated)).toEqual([
      '{"distancefromobject":201,"reading_date":"1970-01-01","sensorreadingtime":1000,"serialnumber":"s-ann","x":1,"y":0,"z":0}',
      '{"distancefromobject":201,"reading_date":"1970-01-01","sensorreadingtime":1000,"serialnumber":"s-ann","x":2,"y":0,"z":0}',
      '{"distancefromobject":202,"reading_date":"1970-01-01","sensorreadingtime":1000,"serialnumber":"s-ann","x":1,"y":0,"z":0}',
      '{"distancefromobject":202,"reading_date":"1970-01-01","sensorreadingtime":1000,"serialnumber":"s-ann","x":2,"y":0,"z":0}',
    ]);
  });

  test('at the same time are those of one person and those of two', () => {
    const lake = lakeOf(records);
    expect(lake.identity()).toEqual({ sameTime: 7, samePerson: 4, otherPerson: 3 });
    lake.run([], 'run-2', JOIN_ON_TIME);
    expect(lake.tables().machine_learning_curated).toHaveLength(7);
    expect(lake.identity()).toEqual({ sameTime: 7, samePerson: 4, otherPerson: 3 });
  });
});

describe('sorted', () => {
  test('forgets the order of rows and columns and keeps everything else apart', () => {
    expect(
      sorted([
        { b: 2n, a: 'x' },
        { a: null, b: 1.5 },
      ]),
    ).toEqual(
      sorted([
        { a: null, b: 1.5 },
        { a: 'x', b: 2n },
      ]),
    );
    expect(sorted([{ a: 2n }])).toEqual(['{"a":2}']);
    expect(new Set(sorted([{ a: 0 }, { a: -0 }, { a: null }, { a: 'null' }, { a: '0' }, { a: NaN }])).size).toBe(6);
  });
});

interface Records {
  customers?: object[];
  motions?: object[];
  steps?: object[];
}

function motion(user: string, timestamp: number, x = 0): object {
  return { user, timestamp, x, y: 0, z: 0 };
}

function step(serialNumber: string, sensorReadingTime: number, distanceFromObject = 201): object {
  return { sensorReadingTime, serialNumber, distanceFromObject };
}

function lakeOf(records: Records, policy = ANY_TIME): ReferenceLake {
  const lake = new ReferenceLake(policy);
  lake.run(files(records, 'first'), 'run-1');
  return lake;
}

function files({ customers, motions, steps }: Records, name: string): LandedFile[] {
  const tables: [LandingTable, object[] | undefined][] = [
    ['customer_landing', customers],
    ['accelerometer_landing', motions],
    ['step_trainer_landing', steps],
  ];
  return tables.flatMap(([table, records]) =>
    records === undefined
      ? []
      : [{ table, key: `${table}/${name}.json`, version: 'v1', bytes: Buffer.from(JSON.stringify(records)) }],
  );
}

// The reference data, with the published counts

const REFERENCE_DATA = join(import.meta.dirname, '../../../shared/data/stedi');
const hasReferenceData = existsSync(REFERENCE_DATA);
if (!hasReferenceData)
  console.warn(`SKIPPED: the published counts are not checked, there is no reference data at ${REFERENCE_DATA}`);

(hasReferenceData ? describe : describe.skip)('the reference data', () => {
  const lake = new ReferenceLake(ANY_TIME);
  beforeAll(() => {
    lake.run(referenceFiles(), 'run-1');
  });

  test('has the published counts', () => {
    lake.run([], 'run-2', ANY_TIME);
    expect(counts()).toEqual({
      customer_staging: 956,
      accelerometer_staging: 81_273,
      step_trainer_staging: 28_680,
      customer_trusted: 482,
      accelerometer_trusted: 40_981,
      customers_curated: 482,
      step_trainer_trusted: 14_460,
      machine_learning_curated: 40_981,
      loads: 13,
      rejected: 0,
    });
    expect(sum(lake.tables().loads.map((load) => load.landed))).toBe(956n + 81_273n + 28_680n);
  });

  test('has 43,681 pairs at the same time, 2,700 of them of two people', () => {
    lake.run([], 'run-3', JOIN_ON_TIME);
    expect(lake.identity()).toEqual({ sameTime: 43_681, samePerson: 40_981, otherPerson: 2_700 });
    expect(counts()).toMatchObject({ accelerometer_trusted: 40_981, machine_learning_curated: 43_681 });
  });

  test('has the counts of the consent date', () => {
    lake.run([], 'run-4', CONSENT_DATE);
    expect(counts()).toMatchObject({
      customer_trusted: 482,
      accelerometer_trusted: 32_025,
      customers_curated: 464,
      step_trainer_trusted: 11_297,
      machine_learning_curated: 32_025,
    });
  });

  test.each([ANY_TIME, CONSENT_DATE])('has a reason for each reading that is withheld, $consentFrom', (policy) => {
    lake.run([], 'run-5', policy);
    const { accelerometer, step_trainer } = lake.withheld();
    expect(total(accelerometer)).toBe(81_273 - lake.tables().accelerometer_trusted.length);
    expect(total(step_trainer)).toBe(28_680 - lake.tables().step_trainer_trusted.length);
  });

  function counts(): Record<string, number> {
    return Object.fromEntries(Object.entries(lake.tables()).map(([table, rows]) => [table, rows.length]));
  }
});

function referenceFiles(): LandedFile[] {
  const folders: [string, LandingTable][] = [
    ['customer', 'customer_landing'],
    ['accelerometer', 'accelerometer_landing'],
    ['step_trainer', 'step_trainer_landing'],
  ];
  return folders.flatMap(([folder, table]) =>
    readdirSync(join(REFERENCE_DATA, folder, 'landing')).map((name) => ({
      table,
      key: `${table}/${name}`,
      version: 'v1',
      bytes: readFileSync(join(REFERENCE_DATA, folder, 'landing', name)),
    })),
  );
}

function total(counted: Record<string, number>): number {
  return Object.values(counted).reduce((all, one) => all + one, 0);
}
