import type { Policies } from '../../functions/core/settings.ts';
import { sqlFiles } from '../../local/projectFiles.ts';
import type { Value } from '../reference/index.ts';
import { temporaryFolders } from '../support/folders.ts';
import { ModelBench } from '../support/modelBench.ts';

type Given = Readonly<Record<string, Value>>;

const newFolder = temporaryFolders();
let bench: ModelBench;
beforeAll(async () => {
  bench = await ModelBench.open(newFolder());
});
beforeEach(async () => bench.reset());
afterAll(() => bench.close());

/** A customer's record: who, the device, when updated, since when sharing for research. */
function customer(
  email: string,
  serialnumber: string | null,
  lastupdatedate: number | bigint | null,
  consent: number | null,
  more: Given = {},
): Given {
  return { email, serialnumber, lastupdatedate, sharewithresearchasofdate: consent, ...more };
}

function motion(user: string, timestamp: number, x = 1): Given {
  return { user, timestamp, x, y: 2, z: 3 };
}

function step(serialnumber: string, sensorreadingtime: number, distancefromobject = 200): Given {
  return { serialnumber, sensorreadingtime, distancefromobject };
}

async function staged(customers: readonly Given[], motions: readonly Given[] = [], steps: readonly Given[] = []): Promise<void> {
  await bench.given('customer_staging', customers);
  await bench.given('accelerometer_staging', motions);
  await bench.given('step_trainer_staging', steps);
}

describe('the current customer', () => {
  const base = {
    email: 'ann',
    customername: 'm',
    phone: 'm',
    birthday: 'm',
    serialnumber: 'm',
    registrationdate: 5,
    sharewithpublicasofdate: 5,
    sharewithfriendsasofdate: 5,
    sharewithresearchasofdate: 5,
    lastupdatedate: 5,
  };

  /** Two records of a person that differ in one column: the first value wins over the second. */
  test.each([
    ['the highest update decides', 'lastupdatedate', 6, 4],
    ['no update is the lowest', 'lastupdatedate', 1, null],
    ['a negative update is higher than none', 'lastupdatedate', -1, null],
    ['a tie goes to the record without consent to research', 'sharewithresearchasofdate', null, 1],
    ['then to the earlier consent to research', 'sharewithresearchasofdate', 4, 6],
    ['then to the record without consent to the public', 'sharewithpublicasofdate', null, 1],
    ['then to the earlier consent to the public', 'sharewithpublicasofdate', 4, 6],
    ['then to the record without consent to friends', 'sharewithfriendsasofdate', null, 1],
    ['then to the earlier consent to friends', 'sharewithfriendsasofdate', 4, 6],
    ['then to the lower registration', 'registrationdate', 4, 6],
    ['no registration is the lowest', 'registrationdate', null, -6],
    ['then to the lower device', 'serialnumber', 'a', 'b'],
    ['no device is the lowest', 'serialnumber', null, 'a'],
    ['text is ordered by its bytes', 'serialnumber', 'B', 'a'],
    ['then to the lower name', 'customername', 'a', 'b'],
    ['no name is the lowest', 'customername', null, ''],
    ['then to the lower phone', 'phone', '10', '9'],
    ['no phone is the lowest', 'phone', null, ''],
    ['then to the lower birthday', 'birthday', 'a', 'b'],
    ['no birthday is the lowest', 'birthday', null, ''],
  ] as const)('%s', async (_, column, deciding, other) => {
    const records = [
      { ...base, [column]: deciding },
      { ...base, [column]: other },
    ];
    for (const order of [records, records.toReversed()]) {
      await bench.reset();
      await staged(order);
      const current = await bench.currentCustomers();
      expect(current).toHaveLength(1);
      expect(current[0]?.[column]).toEqual(typeof deciding === 'number' ? BigInt(deciding) : deciding);
    }
  });

  const ORDER = [
    'sharewithresearchasofdate',
    'sharewithpublicasofdate',
    'sharewithfriendsasofdate',
    'registrationdate',
    'serialnumber',
    'customername',
    'phone',
    'birthday',
  ];
  test.each(ORDER.slice(1).map((column, at) => [ORDER[at] ?? '', column] as const))(
    'a tie is broken by columns in a fixed order: %s before %s',
    async (first, second) => {
      // Null is lowest: the first record is ahead in one column, the second in the other.
      await staged([
        { ...base, [first]: null },
        { ...base, [second]: null },
      ]);
      expect(await bench.currentCustomers()).toMatchObject([{ [first]: null }]);
    },
  );

  test('a later record without consent withdraws an earlier consent, a later consent gives it again', async () => {
    await staged([
      customer('ann', 's1', 1, 10),
      customer('ann', 's1', 2, null),
      customer('bo', 's2', 1, null),
      customer('bo', 's2', 2, 20),
    ]);
    await bench.build();
    expect(await bench.values('customer_trusted', 'email')).toEqual(['bo']);
  });

  test('is one for each person', async () => {
    await staged([
      customer('ann', 's1', 1, 1),
      customer('bo', 's2', 1, 1),
      customer('ann', 's3', 3, 1),
      customer('ann', 's4', 2, 1),
    ]);
    expect(
      (await bench.currentCustomers()).map(({ email, serialnumber }) => `${String(email)} ${String(serialnumber)}`).sort(),
    ).toEqual(['ann s3', 'bo s2']);
  });
});

describe('consents in doubt', () => {
  const IN_MS = 1_655_564_376_361;
  const IN_US = IN_MS * 1000;

  test.each([
    ['a record that does not share has no date', IN_MS, null, 1],
    ['its date is nothing', IN_MS, 0, 1],
    ['its date is of the same second, in seconds', IN_MS, 1_655_564_376, 1],
    ['its date is of an earlier second, in seconds', IN_MS, 1_655_564_375, 0],
    ['both dates are in seconds', 1_655_564_376, 1_655_564_375, 0],
    ['its date is the last before milliseconds', IN_MS, 99_999_999_999, 1],
    ['its date is the first in milliseconds', IN_MS, 100_000_000_000, 0],
    ['it is earlier by a millisecond', IN_MS, IN_MS - 1, 0],
    ['the record that decides is dated in microseconds', IN_US, IN_MS, 1],
    ['the record that decides is dated in microseconds, and later all the same', IN_US, IN_MS - 1, 0],
    ['both dates are in microseconds', IN_US, IN_US - 1_000, 0],
    ['the record that decides is dated in microseconds, in the same millisecond', IN_US + 500, IN_MS, 1],
    ['the record that decides is dated in nanoseconds', BigInt(IN_US) * 1000n, IN_MS, 1],
    ['the record that decides is dated in nanoseconds, and later all the same', BigInt(IN_US) * 1000n, IN_MS - 1, 0],
    ['the record that decides is of the last millisecond that counts', 253_402_300_799_999, IN_MS, 0],
    ['the record that decides is dated after it', 253_402_300_800_000, IN_MS, 1],
  ])('are counted by person: %s', async (_, deciding, other, people) => {
    await staged([
      customer('ann', 's', deciding, 1),
      customer('ann', 's', other, null),
      customer('ann', 's', other, null, { customername: 'again' }),
    ]);
    await bench.build();
    expect(await bench.values('customer_trusted', 'email')).toEqual(['ann']);
    expect((await bench.counts()).consentsInDoubt).toBe(people);
  });

  test('are not of people who are not trusted, whose records all share, or of others', async () => {
    await staged([
      customer('ann', 's', IN_MS, null),
      customer('ann', 's', null, null),
      customer('bo', 's', IN_MS, 1),
      customer('bo', 's', null, 1),
      customer('cy', 's', IN_US, 1),
    ]);
    await bench.build();
    expect((await bench.counts()).consentsInDoubt).toBe(0);
  });
});

/** ann shares from 150, bo does not; cy shares and never moved; dee and ed hold one device; fay has none. */
const PEOPLE = [
  customer('ann', 's-ann', 1, 150),
  customer('bo', 's-bo', 1, null),
  customer('cy', 's-cy', 1, 150),
  customer('dee', 's-both', 1, 150),
  customer('ed', 's-both', 1, null),
  customer('fay', null, 1, 150),
];
const MOTIONS = [
  motion('ann', 100),
  motion('ann', 200),
  motion('ann', 200, 7),
  motion('bo', 200),
  motion('dee', 200),
  motion('fay', 300),
  motion('nobody', 100),
];
const STEPS = [
  step('s-ann', 100),
  step('s-ann', 200),
  step('s-bo', 200),
  step('s-cy', 100),
  step('s-cy', 200),
  step('s-both', 200),
  step('s-none', 300),
];

describe('the trusted and curated tables', () => {
  async function built(policies: Partial<Policies> = {}): Promise<void> {
    await staged(PEOPLE, MOTIONS, STEPS);
    await bench.build(policies);
  }

  test('hold people who share, and what is theirs beyond doubt', async () => {
    await built();
    expect(await bench.values('customer_trusted', 'email')).toEqual(['ann', 'cy', 'dee', 'fay']);
    expect(await bench.values('accelerometer_trusted', 'user')).toEqual(['ann', 'ann', 'ann', 'dee', 'fay']);
    expect(await bench.values('customers_curated', 'email')).toEqual(['ann', 'dee', 'fay']);
    expect(
      (await bench.rows('step_trainer_trusted')).map(({ email, serialnumber, sensorreadingtime }) => ({
        email,
        serialnumber,
        sensorreadingtime,
      })),
    ).toEqual([
      { email: 'ann', serialnumber: 's-ann', sensorreadingtime: 100n },
      { email: 'ann', serialnumber: 's-ann', sensorreadingtime: 200n },
    ]);
  });

  test('count every reading that is withheld under one reason, the first that applies', async () => {
    await built();
    const { counts, withheld } = await bench.counts();
    expect(withheld).toEqual({
      accelerometer: { no_consent: 1, unknown_customer: 1 },
      step_trainer: { ambiguous_device: 1, no_consent: 1, no_motion: 2, unknown_device: 1 },
    });
    expect(counts.accelerometer_staging).toBe(counts.accelerometer_trusted + 2);
    expect(counts.step_trainer_staging).toBe(counts.step_trainer_trusted + 5);
  });

  test('take only readings from the consent on under the policy consent-date', async () => {
    await built({ consentFrom: 'consent-date' });
    expect(await bench.values('accelerometer_trusted', 'timestamp')).toEqual([200n, 200n, 200n, 300n]);
    expect(await bench.values('customers_curated', 'email')).toEqual(['ann', 'dee', 'fay']);
    expect(await bench.values('step_trainer_trusted', 'sensorreadingtime')).toEqual([200n]);
    const { withheld } = await bench.counts();
    expect(withheld).toEqual({
      accelerometer: { before_consent: 1, no_consent: 1, unknown_customer: 1 },
      // cy's earlier reading is from before the consent; the later one has no motion.
      step_trainer: { ambiguous_device: 1, before_consent: 2, no_consent: 1, no_motion: 1, unknown_device: 1 },
    });
  });

  test('take a reading made at the very instant of the consent', async () => {
    await staged([customer('ann', 's', 1, 150)], [motion('ann', 149), motion('ann', 150)], [step('s', 149), step('s', 150)]);
    await bench.build({ consentFrom: 'consent-date' });
    expect(await bench.values('accelerometer_trusted', 'timestamp')).toEqual([150n]);
    expect(await bench.values('step_trainer_trusted', 'sensorreadingtime')).toEqual([150n]);
    expect((await bench.counts()).withheld).toEqual({
      accelerometer: { before_consent: 1 },
      step_trainer: { before_consent: 1 },
    });
    expect(Object.values(await bench.audits()).filter((rows) => rows > 0)).toEqual([]);
  });

  test('withhold a reading from before the consent of a person without motions once', async () => {
    await staged([customer('cy', 's', 1, 150)], [], [step('s', 100)]);
    await bench.build({ consentFrom: 'consent-date' });
    expect((await bench.counts()).withheld).toEqual({ accelerometer: {}, step_trainer: { before_consent: 1 } });
  });

  test('withhold a reading of a device of two as theirs, not as one from before their consents', async () => {
    await staged([customer('dee', 's', 1, 150), customer('ed', 's', 1, 150)], [], [step('s', 100), step('s', 200)]);
    await bench.build({ consentFrom: 'consent-date' });
    expect((await bench.counts()).withheld).toEqual({ accelerometer: {}, step_trainer: { ambiguous_device: 2 } });
  });

  test('withhold a reading of a device of two who both do not share as theirs', async () => {
    await staged([customer('dee', 's', 1, null), customer('ed', 's', 1, null)], [], [step('s', 100)]);
    await bench.build();
    expect((await bench.counts()).withheld).toEqual({ accelerometer: {}, step_trainer: { ambiguous_device: 1 } });
  });

  test('hold each person as the current record has it', async () => {
    const ann = customer('ann', 's', 1, 150, {
      customername: 'Ann',
      phone: '1',
      birthday: '1960-11-24',
      registrationdate: 2,
      sharewithpublicasofdate: 3,
      sharewithfriendsasofdate: 4,
    });
    await staged([ann], [motion('ann', 200)]);
    await bench.build();
    const [current] = await bench.currentCustomers();
    for (const table of ['customer_trusted', 'customers_curated'] as const) expect(await bench.rows(table)).toEqual([current]);
  });

  test('lose a person whose motions are all from before the consent', async () => {
    await staged([customer('ann', 's', 1, 150)], [motion('ann', 100)], [step('s', 200)]);
    await bench.build({ consentFrom: 'consent-date' });
    expect(await bench.rows('customers_curated')).toEqual([]);
    expect((await bench.counts()).withheld).toEqual({ accelerometer: { before_consent: 1 }, step_trainer: { no_motion: 1 } });
  });

  test('follow a device to its current holder, and not to one who held it before', async () => {
    await staged(
      [customer('ann', 's-old', 1, 5), customer('ann', 's-new', 2, 5), customer('bo', 's-old', 1, 5)],
      [motion('ann', 100), motion('bo', 100)],
      [step('s-old', 100), step('s-new', 100)],
    );
    await bench.build();
    expect(
      (await bench.rows('step_trainer_trusted'))
        .map(({ email, serialnumber }) => `${String(email)} ${String(serialnumber)}`)
        .sort(),
    ).toEqual(['ann s-new', 'bo s-old']);
  });

  test('of nothing are empty', async () => {
    await bench.build();
    const { counts, identity, withheld, consentsInDoubt } = await bench.counts();
    expect(Object.values(counts).every((rows) => rows === 0)).toBe(true);
    expect({ identity, withheld, consentsInDoubt }).toEqual({
      consentsInDoubt: 0,
      identity: { sameTime: 0, samePerson: 0, otherPerson: 0 },
      withheld: { accelerometer: {}, step_trainer: {} },
    });
  });
});

describe('the pairs for machine learning', () => {
  /** At 100 ann moves twice and steps once, bo moves once and steps twice; at 200 only ann is there. */
  async function walked(policies: Partial<Policies> = {}): Promise<void> {
    await staged(
      [customer('ann', 's-ann', 1, 1), customer('bo', 's-bo', 1, 1)],
      [motion('ann', 100, 1), motion('ann', 100, 2), motion('bo', 100, 3), motion('ann', 200, 4)],
      [step('s-ann', 100, 201), step('s-bo', 100, 202), step('s-bo', 100, 203), step('s-ann', 200, 204), step('s-ann', 300, 205)],
    );
    await bench.build(policies);
  }
  const pairsOf = async () =>
    (await bench.rows('machine_learning_curated'))
      .map(({ distancefromobject, x }) => `${String(distancefromobject)}-${String(x)}`)
      .sort();

  test('are of one person at one time', async () => {
    await walked();
    expect(await pairsOf()).toEqual(['201-1', '201-2', '202-3', '203-3', '204-4']);
  });

  test('are of everybody at one time under the policy mlJoin time', async () => {
    await walked({ mlJoin: 'time' });
    expect(await pairsOf()).toEqual(['201-1', '201-2', '201-3', '202-1', '202-2', '202-3', '203-1', '203-2', '203-3', '204-4']);
  });

  test.each([['person-and-time'], ['time']] as const)(
    'are counted without being built, under mlJoin %s the same',
    async (mlJoin) => {
      await walked({ mlJoin });
      expect((await bench.counts()).identity).toEqual({ sameTime: 10, samePerson: 5, otherPerson: 5 });
    },
  );

  test('are of two people who do the same, both of them, under mlJoin time', async () => {
    await staged(
      [customer('ann', 's-ann', 1, 1), customer('bo', 's-bo', 1, 1)],
      [motion('ann', 100), motion('bo', 100)],
      [step('s-ann', 100)],
    );
    await bench.build({ mlJoin: 'time' });
    expect(await pairsOf()).toEqual(['200-1', '200-1']);
  });

  test('count a step whose person does not move beside the motion of another', async () => {
    await staged(
      [customer('ann', 's-ann', 1, 1), customer('bo', 's-bo', 1, 1)],
      [motion('ann', 100), motion('bo', 200)],
      [step('s-ann', 200)],
    );
    await bench.build();
    expect((await bench.counts()).identity).toEqual({ sameTime: 1, samePerson: 0, otherPerson: 1 });
  });

  test('carry the time and the day of their reading', async () => {
    await staged([customer('ann', 's', 1, 1)], [motion('ann', 86_400_000)], [step('s', 86_400_000)]);
    await bench.build();
    expect(await bench.rows('machine_learning_curated')).toEqual([
      {
        serialnumber: 's',
        sensorreadingtime: 86_400_000n,
        reading_date: '1970-01-02',
        distancefromobject: 200n,
        x: 1,
        y: 2,
        z: 3,
      },
    ]);
  });
});

describe('the counts over loads', () => {
  test('are sums by landing table, 0 where nothing was loaded', async () => {
    await bench.given('loads', [
      {
        landing_table: 'customer_landing',
        file: 'a',
        version: '1',
        landed: 10,
        staged: 6,
        duplicate: 3,
        rejected: 1,
        run_id: 'r',
      },
      {
        landing_table: 'customer_landing',
        file: 'b',
        version: '1',
        landed: 5,
        staged: 5,
        duplicate: 0,
        rejected: 0,
        run_id: 'r',
      },
      {
        landing_table: 'step_trainer_landing',
        file: 'c',
        version: '1',
        landed: 1,
        staged: 0,
        duplicate: 0,
        rejected: 1,
        run_id: 'r',
      },
    ]);
    expect((await bench.counts()).loads).toEqual({
      customer_landing: { landed: 15, staged: 11, duplicate: 3, rejected: 1 },
      accelerometer_landing: { landed: 0, staged: 0, duplicate: 0, rejected: 0 },
      step_trainer_landing: { landed: 1, staged: 0, duplicate: 0, rejected: 1 },
    });
  });
});

describe('rows that may go', () => {
  const BEFORE = customer('ann', 's', 1, 150);

  /** The people and devices excepted once ann's records have become these. */
  async function excepted(now: readonly Given[], policies: Partial<Policies> = {}): Promise<Record<string, Value[]>> {
    await bench.given('customer_trusted', [BEFORE]);
    await bench.run('create or replace temp table previous_people as from customer_trusted');
    await staged(now);
    await bench.build(policies);
    return { people: await bench.excepted('people', 'email'), devices: await bench.excepted('devices', 'serialnumber') };
  }
  const CONSENT_DATE = { consentFrom: 'consent-date' } as const;

  test.each<[string, Given[], Partial<Policies>, { people: Value[]; devices: Value[] }]>([
    ['nobody’s while nothing has changed', [BEFORE], {}, { people: [], devices: [] }],
    ['nor under consent-date', [BEFORE], CONSENT_DATE, { people: [], devices: [] }],
    ['those of who withdrew', [customer('ann', 's', 2, null)], {}, { people: ['ann'], devices: ['s'] }],
    ['those of who withdrew and gave the device away', [customer('ann', null, 2, null)], {}, { people: ['ann'], devices: ['s'] }],
    ['nobody’s by a later consent', [customer('ann', 's', 2, 160)], {}, { people: [], devices: [] }],
    ['by a later consent under consent-date', [customer('ann', 's', 2, 160)], CONSENT_DATE, { people: ['ann'], devices: ['s'] }],
    ['nobody’s by an earlier consent', [customer('ann', 's', 2, 140)], CONSENT_DATE, { people: [], devices: [] }],
    ['those of a device of two', [BEFORE, customer('bo', 's', 1, 1)], {}, { people: [], devices: ['s'] }],
    [
      'those of a device that came to who does not share',
      [customer('ann', 't', 2, 150), customer('bo', 's', 1, null, { sharewithpublicasofdate: 1 })],
      {},
      { people: [], devices: ['s'] },
    ],
    [
      'not those of a device that came to who shares',
      [customer('ann', 't', 2, 150), customer('bo', 's', 1, 1)],
      {},
      { people: [], devices: [] },
    ],
    ['not those of a device that nobody holds', [customer('ann', 't', 2, 150)], {}, { people: [], devices: [] }],
  ])('%s', async (_, now, policies, expected) => {
    expect(await excepted(now, policies)).toEqual(expected);
  });
});

// Audits

/** What each audit must find, planted into otherwise correct tables: every one of these must make it fire. */
const VIOLATIONS: Record<string, Record<string, () => Promise<void>>> = {
  accelerometer_trusted_consents: {
    'readings of somebody who does not share': () => bench.given('accelerometer_trusted', [motion('bo', 200)]),
    'readings of somebody unknown': () => bench.given('accelerometer_trusted', [motion('nobody', 200)]),
    'readings from before the consent under consent-date': async () => {
      await bench.build({ consentFrom: 'consent-date' });
      await bench.given('accelerometer_trusted', [motion('ann', 149)]);
    },
  },
  customer_trusted_consents: {
    'a person who agreed and is missing': () => bench.run("delete from customer_trusted where email = 'ann'"),
    'a consent of 0': async () => {
      await bench.given('customer_staging', [customer('gil', 's-gil', 1, 0)]);
      await bench.given('customer_trusted', [customer('gil', 's-gil', 1, 0)]);
    },
    'the consent of another record': () =>
      bench.run("update customer_trusted set sharewithresearchasofdate = 151 where email = 'ann'"),
    'the date of another record': () => bench.run("update customer_trusted set lastupdatedate = 0 where email = 'ann'"),
    'a person without consent, of whom nothing is staged': () =>
      bench.given('customer_trusted', [customer('gil', 's-gil', 1, null)]),
    'a person without consent': () => bench.given('customer_trusted', [customer('bo', 's-bo', 1, null)]),
    'a record that a newer one without consent has outdated': () =>
      bench.given('customer_staging', [customer('ann', 's-ann', 2, null)]),
    'a record as new as one without consent': () => bench.given('customer_staging', [customer('ann', 'other', 1, null)]),
    'a record without update beside one without consent': async () => {
      await bench.given('customer_trusted', [customer('gil', null, null, 5)]);
      await bench.given('customer_staging', [customer('gil', null, null, null)]);
    },
  },
  customer_staging_emails: {
    'an address in capitals': () => bench.run("update customer_staging set email = 'Ann' where email = 'ann'"),
    'an address with a blank': () => bench.run("update customer_staging set email = 'ann ' where email = 'ann'"),
  },
  customers_as_staged: {
    'a trusted person with another device': () =>
      bench.run("update customer_trusted set serialnumber = 's-bo' where email = 'ann'"),
    'a curated person without a device': () => bench.run("update customers_curated set serialnumber = null where email = 'ann'"),
    'a curated person with the consent of somebody else': () =>
      bench.run("update customers_curated set sharewithresearchasofdate = 1 where email = 'ann'"),
  },
  customers_curated_people: {
    'a person who is not trusted': () => bench.given('customers_curated', [customer('bo', 's-bo', 1, 5)]),
    'a person with readings who is not trusted': async () => {
      await bench.given('customers_curated', [customer('bo', 's-bo', 1, 5)]);
      await bench.given('accelerometer_trusted', [motion('bo', 200)]);
    },
    'a trusted person without readings': () => bench.given('customers_curated', [customer('cy', 's-cy', 1, 150)]),
    'a person with readings who is missing': () => bench.run("delete from customers_curated where email = 'ann'"),
  },
  loaded_once: {
    'a file version that was loaded twice': () =>
      bench.run("insert into loads select * replace ('run-2' as run_id) from loads where file = 'a'"),
  },
  machine_learning_curated_devices: {
    'a device that is not trusted': () =>
      bench.run(
        "insert into machine_learning_curated select * replace ('s-bo' as serialnumber) from machine_learning_curated limit 1",
      ),
  },
  one_row_per_person: {
    'a person twice in customer_trusted': () => bench.given('customer_trusted', [customer('ann', 'other', 0, 150)]),
    'a person twice in customers_curated': () => bench.given('customers_curated', [customer('ann', 'other', 0, 150)]),
  },
  rejected_as_loaded: {
    'a rejected record that was lost': () => bench.run('delete from rejected'),
    'one of two rejected records that was lost': () => bench.run('delete from rejected where line = 2'),
    'a rejected record that nobody counted': () => bench.run("insert into rejected select * replace ('b' as file) from rejected"),
    'a rejected record that is kept twice': () => bench.run('insert into rejected select * from rejected'),
    'a rejected record of another version': () => bench.run("update rejected set version = '2'"),
  },
  step_trainer_trusted_holders: {
    'a device whose person is not in customers_curated': () =>
      bench.given('step_trainer_trusted', [{ ...step('s-cy', 200), email: 'cy' }]),
    'a device that another person holds, too': () =>
      bench.given('step_trainer_trusted', [{ ...step('s-both', 200), email: 'dee' }]),
    'a device that its person does not hold': () =>
      bench.given('step_trainer_trusted', [{ ...step('s-none', 200), email: 'ann' }]),
    'a reading under the name of another person': () =>
      bench.given('step_trainer_trusted', [{ ...step('s-ann', 200), email: 'fay' }]),
    'a reading from before the consent under consent-date': async () => {
      await bench.build({ consentFrom: 'consent-date' });
      await bench.given('step_trainer_trusted', [{ ...step('s-ann', 149), email: 'ann' }]);
    },
  },
};

describe('audits', () => {
  async function good(policies: Partial<Policies> = {}): Promise<void> {
    await staged(PEOPLE, MOTIONS, STEPS);
    await bench.given('loads', [
      {
        landing_table: 'customer_landing',
        file: 'a',
        version: '1',
        landed: 7,
        staged: 6,
        duplicate: 0,
        rejected: 1,
        run_id: 'run-1',
      },
      // The same name in another landing table is another file.
      {
        landing_table: 'step_trainer_landing',
        file: 'a',
        version: '1',
        landed: 2,
        staged: 0,
        duplicate: 0,
        rejected: 2,
        run_id: 'run-1',
      },
      {
        landing_table: 'customer_landing',
        file: 'b',
        version: '1',
        landed: 2,
        staged: 0,
        duplicate: 2,
        rejected: 0,
        run_id: 'run-1',
      },
    ]);
    const rejected = {
      file: 'a',
      version: '1',
      position: 1,
      reason: 'broken_json',
      encoding: 'utf-8',
      record: 'oops',
      run_id: 'run-1',
    };
    await bench.given('rejected', [
      { ...rejected, landing_table: 'customer_landing', line: 1 },
      { ...rejected, landing_table: 'step_trainer_landing', line: 1 },
      { ...rejected, landing_table: 'step_trainer_landing', line: 2 },
    ]);
    await bench.build(policies);
  }

  test('all have something to find', () => {
    expect(Object.keys(VIOLATIONS).sort()).toEqual([...sqlFiles('audits').keys()]);
  });

  test('take the earliest date of update that there is for later than none', async () => {
    await staged([customer('ann', 's-ann', 1, 150), customer('ann', 's-ann', null, null)], [], []);
    await bench.run('update customer_staging set lastupdatedate = -9223372036854775808 where lastupdatedate = 1');
    await bench.build();
    expect(await bench.rows('customer_trusted')).toHaveLength(1);
    expect((await bench.audits())['customer_trusted_consents']).toBe(0);
  });

  test.each<Partial<Policies>>([{}, { mlJoin: 'time' }, { consentFrom: 'consent-date' }])(
    'find nothing in tables that are as they must be: %j',
    async (policies) => {
      await good(policies);
      expect(await bench.audits()).toEqual(Object.fromEntries(Object.keys(VIOLATIONS).map((name) => [name, 0])));
    },
  );

  test('find nothing in empty tables', async () => {
    expect(Object.values(await bench.audits()).every((rows) => rows === 0)).toBe(true);
  });

  test.each(Object.entries(VIOLATIONS).flatMap(([name, planted]) => Object.keys(planted).map((what) => [name, what] as const)))(
    '%s fires on %s',
    async (name, what) => {
      await good();
      await VIOLATIONS[name]?.[what]?.();
      expect((await bench.audits())[name]).toBeGreaterThan(0);
    },
  );

  test('do not blame a person for a reading before the consent under any-time', async () => {
    await good();
    await bench.given('accelerometer_trusted', [motion('ann', 1)]);
    await bench.given('step_trainer_trusted', [{ ...step('s-ann', 1), email: 'ann' }]);
    expect(await bench.audits()).toMatchObject({ accelerometer_trusted_consents: 0, step_trainer_trusted_holders: 0 });
  });
});
