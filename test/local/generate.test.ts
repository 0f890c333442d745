import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generate } from '../../local/generate.ts';
import type { Generated, GenerateOptions } from '../../local/generate.ts';
import { ReferenceLake, sorted } from '../reference/index.ts';
import type { LandedFile, LandingTable, Row } from '../reference/index.ts';

const TABLES: readonly LandingTable[] = ['customer_landing', 'accelerometer_landing', 'step_trainer_landing'];

let root = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'stedi-generate-'));
});
afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

// The reference size

test.each([1, 20_220_618])('956 customers have exactly the counts of the reference data, with seed %i', async (seed) => {
  const { out, generated } = await generated956(seed);
  expect(generated.records).toEqual({ customer_landing: 956, accelerometer_landing: 81_273, step_trainer_landing: 28_680 });
  const { peopleAtOneTime, ...counts } = measure(await readLanding(out));
  expect(counts).toEqual({
    customers: 956,
    emails: 956,
    serialNumbers: 956,
    motions: 81_273,
    steps: 28_680,
    duplicates: 0,
    stepsOfEachDevice: [30],
    stepsAtOneTimeOfADevice: 1,
    motionsWithoutStep: 0,
    motionsOfUnknownPeople: 0,
    stepsOfUnknownDevices: 0,
    consenting: 482,
    sharingWithPublic: 491,
    sharingWithFriends: 508,
    trustedMotions: 40_981,
    otherMotions: 40_292,
    trustedSteps: 14_460,
    peopleWithTrustedMotions: 482,
    sameTime: 43_681,
    samePerson: 40_981,
    datedMotions: 32_025,
    peopleWithDatedMotions: 464,
    datedSteps: 11_297,
    datedPairs: 32_025,
    days: ['2022-06-18'],
    mostMotionsAtOneTime: 6,
  });
  expect(peopleAtOneTime).toEqual({ 1: 25_629, 2: 1_399, 3: 77, 4: 3, 5: 2 });
});

test('956 customers land in files of 10,000 lines, under their final names', async () => {
  const { out, generated } = await generated956(1);
  const names = await Promise.all(TABLES.map(async (table) => (await readdir(join(out, table))).sort()));
  expect(names).toEqual([['customer-0001.json'], numbered('accelerometer', 9), numbered('step_trainer', 3)]);
  const bytes = await filesOf(out);
  expect(generated).toMatchObject({ files: bytes.size, bytes: sum([...bytes.values()].map((file) => file.length)), defects: [] });
  const lines = (await readFile(join(out, 'accelerometer_landing', 'accelerometer-0002.json'), 'utf8')).split('\n');
  expect(lines).toHaveLength(10_001);
});

test('the same seed gives the same bytes, another seed other people', async () => {
  const [first, again, other] = [await generated956(1), await generateInto('again', { seed: 1 }), await generated956(20_220_618)];
  expect(digest(await filesOf(again.out))).toBe(digest(await filesOf(first.out)));
  const emails = new Set((await readLanding(first.out)).customers.map(({ email }) => email));
  const shared = (await readLanding(other.out)).customers.filter(({ email }) => emails.has(email));
  expect(shared.length).toBeLessThan(100);
});

// Other sizes

test.each([100, 3_000])('%i customers keep the proportions', async (customers) => {
  const { out } = await generateInto(`customers-${customers}`, { customers, seed: 3 });
  const counts = measure(await readLanding(out));
  const share = (reference: number): number => Math.round((reference * customers) / 956);
  expect(counts).toMatchObject({
    customers,
    emails: customers,
    serialNumbers: customers,
    motions: share(81_273),
    steps: customers * 30,
    duplicates: 0,
    stepsOfEachDevice: [30],
    stepsAtOneTimeOfADevice: 1,
    motionsWithoutStep: 0,
    motionsOfUnknownPeople: 0,
    stepsOfUnknownDevices: 0,
    consenting: share(482),
    trustedMotions: share(40_981),
    otherMotions: share(81_273) - share(40_981),
    trustedSteps: share(482) * 30,
    peopleWithTrustedMotions: share(482),
    sameTime: share(40_981) + share(2_700),
    samePerson: share(40_981),
    datedMotions: share(32_025),
    peopleWithDatedMotions: share(464),
    datedSteps: share(11_297),
    datedPairs: share(32_025),
  });
  expect(counts.days).toHaveLength(Math.floor(Math.max(1, customers / 956)));
});

test.each([2, 3, 7])('even %i customers are whole people with all their readings', async (customers) => {
  const { out } = await generateInto(`few-${customers}`, { customers });
  expect(measure(await readLanding(out))).toMatchObject({
    customers,
    steps: customers * 30,
    duplicates: 0,
    stepsOfEachDevice: [30],
    stepsAtOneTimeOfADevice: 1,
    motionsWithoutStep: 0,
    consenting: Math.round((482 * customers) / 956),
  });
});

// Defects

test('with defects, a run finds what the generator says and the trusted tables stay as they were', async () => {
  const [clean, dirty] = [
    await generateInto('clean', { customers: 100 }),
    await generateInto('dirty', { customers: 100, dirty: true }),
  ];
  const [cleanFiles, dirtyFiles] = [await filesOf(clean.out), await filesOf(dirty.out)];
  for (const [name, bytes] of cleanFiles) expect(dirtyFiles.get(name)?.equals(bytes)).toBe(true);

  const [cleanLake, dirtyLake] = [lakeOf(cleanFiles), lakeOf(dirtyFiles)];
  const [cleanTables, dirtyTables] = [cleanLake.tables(), dirtyLake.tables()];
  const { records, rejected, duplicates } = dirty.generated;
  for (const table of TABLES) {
    const loads = dirtyTables.loads.filter((load) => load.landing_table === table);
    expect({ table, landed: sum(loads.map((load) => Number(load.landed))) }).toEqual({ table, landed: records[table] });
    expect({ table, rejected: sum(loads.map((load) => Number(load.rejected))) }).toEqual({ table, rejected: rejected[table] });
    expect({ table, duplicate: sum(loads.map((load) => Number(load.duplicate))) }).toEqual({
      table,
      duplicate: duplicates[table],
    });
  }
  const trusted = (tables: typeof cleanTables): Row[][] => [
    tables.customer_trusted,
    tables.accelerometer_trusted,
    tables.customers_curated,
    tables.step_trainer_trusted,
    tables.machine_learning_curated,
  ];
  expect(trusted(dirtyTables).map(sorted)).toEqual(trusted(cleanTables).map(sorted));

  expect(new Set(dirtyTables.rejected.map(({ reason }) => reason))).toEqual(
    new Set([
      'bad_unicode',
      'broken_gzip',
      'broken_json',
      'duplicate_field',
      'missing_field',
      'negative_consent',
      'not_a_number',
      'not_an_integer',
      'not_an_object',
      'not_text',
      'not_utf8',
      'time_out_of_range',
    ]),
  );
  expect(Object.keys(dirtyLake.withheld().step_trainer).sort()).toEqual(['ambiguous_device', 'no_consent', 'unknown_device']);
  expect(Object.keys(dirtyLake.withheld().accelerometer).sort()).toEqual(['no_consent', 'unknown_customer']);
});

test('every kind of defect is there, the same for the same seed, and growing with the number of customers', async () => {
  const [small, again] = [
    await generateInto('small', { customers: 40, dirty: true }),
    await generateInto('small-again', { customers: 40, dirty: true }),
  ];
  expect(digest(await filesOf(again.out))).toBe(digest(await filesOf(small.out)));
  const kinds = small.generated.defects.map(({ kind }) => kind);
  expect(kinds).toHaveLength(41);
  expect(new Set(kinds).size).toBe(kinds.length);
  for (const { count, what } of small.generated.defects) {
    expect(count).toBeGreaterThanOrEqual(1);
    expect(what).not.toBe('');
  }

  const { out, generated } = await generateInto('many', { customers: 5_000, dirty: true });
  const counts = new Map(generated.defects.map(({ kind, count }) => [kind, count]));
  expect([...counts.keys()]).toEqual([...kinds, 'long_line']);
  expect(counts.get('missing_field')).toBe(25);
  expect((await stat(join(out, 'step_trainer_landing', 'step_trainer-long-line.json'))).size).toBeGreaterThan(20_000_000);
  for (const table of TABLES) expect(generated.rejected[table] / generated.records[table]).toBeLessThan(0.02);
});

// Options

test.each([1, 0, -5, 2.5, Number.NaN, 1e12])('refuses %d customers', async (customers) => {
  const out = join(root, `refused-${customers}`);
  await expect(generate({ out, customers })).rejects.toThrow(/^expected a whole number of customers from 2 .* found .*; choose/);
  await expect(stat(out)).rejects.toThrow('ENOENT');
});

test.each([-1, 0.5])('refuses %d as a seed', async (seed) => {
  await expect(generate({ out: join(root, 'refused-seed'), seed })).rejects.toThrow(/^expected a seed .* found .*; choose/);
});

test('never writes into a landing folder that holds files', async () => {
  const out = join(root, 'taken');
  await mkdir(join(out, 'step_trainer_landing'), { recursive: true });
  await writeFile(join(out, 'step_trainer_landing', 'mine.json'), 'mine');
  await expect(generate({ out, customers: 2 })).rejects.toThrow(
    /^expected an empty landing folder, found mine\.json in .*step_trainer_landing: nothing was written/,
  );
  expect([...(await filesOf(out)).keys()]).toEqual(['step_trainer_landing/mine.json']);
});

test('that is broken off leaves no file, and one that is killed leaves none that looks whole', async () => {
  const out = join(root, 'broken-off');
  await mkdir(join(out, 'accelerometer_landing'), { recursive: true });
  // In place of the third file, which then can't be opened.
  await symlink(out, join(out, 'accelerometer_landing', 'accelerometer-0003.json.part'));
  await expect(generate({ out })).rejects.toThrow('EISDIR');
  expect([...(await filesOf(out)).keys()]).toEqual([]);
  // A killed call's file is no landing file, and the next one writes it again.
  await writeFile(join(out, 'customer_landing', 'customer-0001.json.part'), 'half');
  const { files } = await generate({ out, customers: 20 });
  expect((await filesOf(out)).size).toBe(files);
});

// Generating and reading

interface Made {
  out: string;
  generated: Generated;
}

async function generateInto(name: string, options: Omit<GenerateOptions, 'out'>): Promise<Made> {
  const out = join(root, name);
  return { out, generated: await generate({ out, ...options }) };
}

const madeBefore = new Map<number, Promise<Made>>();

async function generated956(seed: number): Promise<Made> {
  const made = madeBefore.get(seed) ?? generateInto(`seed-${seed}`, { seed });
  madeBefore.set(seed, made);
  return made;
}

/** Every file below a landing folder, `<table>/<name>` and bytes, in name order. */
async function filesOf(out: string): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const table of TABLES) {
    for (const name of (await readdir(join(out, table))).sort())
      files.set(`${table}/${name}`, await readFile(join(out, table, name)));
  }
  return files;
}

function digest(files: Map<string, Buffer>): string {
  const hash = createHash('sha256');
  for (const [name, bytes] of files) hash.update(`${name} ${bytes.length}\n`).update(bytes);
  return hash.digest('hex');
}

function numbered(stem: string, files: number): string[] {
  return Array.from({ length: files }, (_, index) => `${stem}-${String(index + 1).padStart(4, '0')}.json`);
}

function lakeOf(files: Map<string, Buffer>): ReferenceLake {
  const landed: LandedFile[] = [...files].map(([key, bytes]) => ({ table: tableOf(key), key, version: '1', bytes }));
  const lake = new ReferenceLake({ mlJoin: 'person-and-time', consentFrom: 'any-time' });
  lake.run(landed, 'run-1');
  return lake;
}

function tableOf(key: string): LandingTable {
  const table = TABLES.find((candidate) => key.startsWith(`${candidate}/`));
  if (table === undefined) throw new Error(`${key} is in no landing folder`);
  return table;
}

interface Landed {
  customers: { email: string; serialNumber: string; consent: number | undefined; shares: string[] }[];
  motions: Reading[];
  steps: Reading[];
}

/** A reading of a person or a device. */
interface Reading {
  line: string;
  source: string;
  time: number;
}

// How lines look is tested too: spelling, order and separators of the reference data.
const CUSTOMER =
  /^\{"customerName": "[A-Z][a-z]+ [A-Z][a-z]+", "email": "(?<email>[A-Za-z0-9.]+@example\.(?:com|org))", "phone": "[0-9]{10}", "birthDay": "[0-9]{4}-[0-9]{2}-[0-9]{2}", "serialNumber": "(?<serialNumber>[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})", "registrationDate": [0-9]{13}, "lastUpdateDate": [0-9]{13}(?:, "shareWithResearchAsOfDate": (?<consent>[0-9]{13}))?(?<public>, "shareWithPublicAsOfDate": [0-9]{13})?(?<friends>, "shareWithFriendsAsOfDate": [0-9]{13})?\}$/;
const MOTION = /^\{"user":"(?<user>[^"]+)","timestamp":(?<time>[0-9]{13}),"x":(?:-1|0|1)\.0,"y":(?:-1|0|1)\.0,"z":(?:-1|0)\.0\}$/;
const STEP =
  /^\{"sensorReadingTime":(?<time>[0-9]{13}),"serialNumber":"(?<serialNumber>[^"]+)","distanceFromObject":(?:20[1-9]|2[1-9][0-9]|300)\}$/;

async function readLanding(out: string): Promise<Landed> {
  const lines = async (table: LandingTable): Promise<string[]> => {
    const names = (await readdir(join(out, table))).sort();
    const texts = await Promise.all(names.map(async (name) => readFile(join(out, table, name), 'utf8')));
    return texts.join('').trimEnd().split('\n');
  };
  const field = (line: string, fields: Record<string, string> | undefined, name: string): string => {
    const value = fields?.[name];
    if (value === undefined) throw new Error(`no ${name} in ${line}`);
    return value;
  };
  return {
    customers: (await lines('customer_landing')).map((line) => {
      const fields = CUSTOMER.exec(line)?.groups;
      const consent = fields?.['consent'];
      return {
        email: field(line, fields, 'email'),
        serialNumber: field(line, fields, 'serialNumber'),
        consent: consent === undefined ? undefined : Number(consent),
        shares: ['public', 'friends'].filter((name) => fields?.[name] !== undefined),
      };
    }),
    motions: (await lines('accelerometer_landing')).map((line) => {
      const fields = MOTION.exec(line)?.groups;
      return { line, source: field(line, fields, 'user'), time: Number(field(line, fields, 'time')) };
    }),
    steps: (await lines('step_trainer_landing')).map((line) => {
      const fields = STEP.exec(line)?.groups;
      return { line, source: field(line, fields, 'serialNumber'), time: Number(field(line, fields, 'time')) };
    }),
  };
}

/** Counts everything that the design says about the reference data, with maps and sets. */
function measure(landed: Landed) {
  const { customers } = landed;
  const consentOf = new Map(customers.map(({ email, consent }) => [email, consent]));
  const emailOf = new Map(customers.map(({ serialNumber, email }) => [serialNumber, email]));
  const numberOf = new Map(customers.map(({ email }, index) => [email, index]));
  const withPerson = ({ line, time }: Reading, email: string) => {
    const consent = consentOf.get(email);
    const number = numberOf.get(email);
    return {
      line,
      email,
      time,
      // One number for both: with this many readings text would take seconds.
      personAndTime: (number ?? -1) * 10 ** 11 + (time - Date.UTC(2022, 0, 1)),
      known: number !== undefined,
      trusted: consent !== undefined,
      dated: consent !== undefined && time >= consent,
    };
  };
  const motions = landed.motions.map((motion) => withPerson(motion, motion.source));
  const steps = landed.steps.map((step) => withPerson(step, emailOf.get(step.source) ?? 'nobody'));

  const stepsOf = counted(steps, ({ personAndTime }) => personAndTime);
  const trustedMotions = motions.filter(({ trusted }) => trusted);
  const trustedSteps = steps.filter(({ trusted }) => trusted);
  const trustedStepsAt = counted(trustedSteps, ({ time }) => time);
  const datedMotions = motions.filter(({ dated }) => dated);
  const peopleWithDatedMotions = new Set(datedMotions.map(({ email }) => email));
  const datedSteps = steps.filter(({ email, dated }) => dated && peopleWithDatedMotions.has(email));
  const datedStepsOf = counted(datedSteps, ({ personAndTime }) => personAndTime);
  const times = counted(steps, ({ time }) => time);

  return {
    customers: customers.length,
    emails: new Set(customers.map(({ email }) => email.toLowerCase())).size,
    serialNumbers: emailOf.size,
    motions: motions.length,
    steps: steps.length,
    duplicates: repetitions(motions) + repetitions(steps),
    stepsOfEachDevice: [...new Set(counted(steps, ({ email }) => email).values())],
    stepsAtOneTimeOfADevice: Math.max(...new Set(stepsOf.values())),
    motionsWithoutStep: motions.filter(({ personAndTime }) => !stepsOf.has(personAndTime)).length,
    motionsOfUnknownPeople: motions.filter(({ known }) => !known).length,
    stepsOfUnknownDevices: steps.filter(({ known }) => !known).length,
    consenting: customers.filter(({ consent }) => consent !== undefined).length,
    sharingWithPublic: customers.filter(({ shares }) => shares.includes('public')).length,
    sharingWithFriends: customers.filter(({ shares }) => shares.includes('friends')).length,
    trustedMotions: trustedMotions.length,
    otherMotions: motions.length - trustedMotions.length,
    trustedSteps: trustedSteps.length,
    peopleWithTrustedMotions: new Set(trustedMotions.map(({ email }) => email)).size,
    sameTime: sum(trustedMotions.map(({ time }) => trustedStepsAt.get(time) ?? 0)),
    samePerson: sum(trustedMotions.map(({ personAndTime }) => stepsOf.get(personAndTime) ?? 0)),
    datedMotions: datedMotions.length,
    peopleWithDatedMotions: peopleWithDatedMotions.size,
    datedSteps: datedSteps.length,
    datedPairs: sum(datedMotions.map(({ personAndTime }) => datedStepsOf.get(personAndTime) ?? 0)),
    days: [...new Set([...times.keys()].map((time) => Math.floor(time / 86_400_000)))].map(dayText),
    mostMotionsAtOneTime: Math.max(...new Set(counted(motions, ({ personAndTime }) => personAndTime).values())),
    peopleAtOneTime: Object.fromEntries(counted([...times.values()], (people) => people)),
  };
}

function repetitions(readings: readonly { line: string }[]): number {
  return readings.length - new Set(readings.map(({ line }) => line)).size;
}

function dayText(day: number): string {
  return new Date(day * 86_400_000).toISOString().slice(0, 10);
}

function counted<Item, Key>(items: readonly Item[], keyOf: (item: Item) => Key): Map<Key, number> {
  const counts = new Map<Key, number>();
  for (const item of items) {
    const key = keyOf(item);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
