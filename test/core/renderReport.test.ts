import { CONTRACTS } from '../../functions/core/contracts.ts';
import { identitySentence, renderReport, rowCountTable } from '../../functions/core/renderReport.ts';
import { figure, table } from '../../functions/core/textTable.ts';
import type { Report } from '../../functions/core/runFiles.ts';

const SUCCEEDED: Report = {
  runId: 'run-2',
  status: 'SUCCEEDED',
  publishing: false,
  error: null,
  reason: 'files',
  policies: { mlJoin: 'person-and-time', consentFrom: 'any-time' },
  plannedAt: '2026-01-02T03:04:05.000Z',
  reportedAt: '2026-01-02T03:04:06.000Z',
  files: 3,
  tables: {
    customer_landing: 956,
    accelerometer_landing: 81_273,
    step_trainer_landing: 28_680,
    customer_staging: 950,
    accelerometer_staging: 81_273,
    step_trainer_staging: 28_680,
    loads: 3,
    rejected: 6,
    customer_trusted: 482,
    accelerometer_trusted: 40_981,
    step_trainer_trusted: 14_460,
    customers_curated: 482,
    machine_learning_curated: 40_981,
  },
  tablesBefore: {
    customer_landing: 956,
    accelerometer_landing: 80_000,
    step_trainer_landing: 28_680,
    customer_staging: 950,
    accelerometer_staging: 80_000,
    step_trainer_staging: 28_680,
    customer_trusted: 485,
    accelerometer_trusted: 40_981,
    step_trainer_trusted: 14_460,
    customers_curated: 482,
    machine_learning_curated: 39_000,
  },
  loads: {
    customer_landing: { landed: 0, staged: 0, duplicate: 0, rejected: 0 },
    accelerometer_landing: { landed: 1_279, staged: 1_273, duplicate: 0, rejected: 6 },
  },
  rejected: { accelerometer_landing: { broken_json: 5, not_a_number: 1 } },
  withheld: { accelerometer: { no_consent: 40_292 }, step_trainer: { no_consent: 14_220 } },
  identity: { sameTime: 43_681, samePerson: 40_981, otherPerson: 2_700 },
  consentsInDoubt: 0,
  expectations: [{ name: 'audit:loaded_once', ok: true, expected: 0, found: 0 }],
  held: [],
  slow: [],
  useless: [],
  steps: [
    { step: 'customer_trusted', seconds: 0.5 },
    { step: 'machine_learning_curated', seconds: 12.345 },
  ],
};

const FAILED: Report = {
  runId: 'run-3',
  status: 'FAILED',
  publishing: false,
  error: {
    name: 'GateFailedError',
    cause: '1 of 41 expectations not met. reject_ratio:customer_landing: expected at most 5%, found 60% (6 of 10)',
  },
  reason: 'files',
  policies: { mlJoin: 'time', consentFrom: 'consent-date' },
  plannedAt: '2026-01-02T03:04:05.000Z',
  reportedAt: '2026-01-02T03:04:06.000Z',
  files: 1,
  tables: null,
  tablesBefore: null,
  loads: {},
  rejected: { customer_landing: { broken_json: 6 } },
  withheld: null,
  identity: null,
  consentsInDoubt: null,
  expectations: [
    { name: 'audit:loaded_once', ok: true, expected: 0, found: 0 },
    {
      name: 'reject_ratio:customer_landing',
      ok: false,
      expected: 'at most 5%',
      found: '60% (6 of 10)',
      look: 'the rejects of this run',
    },
  ],
  held: [{ file: 'customer_landing/a.json', version: 'v1', why: '6 of 10 records rejected' }],
  slow: [],
  useless: [],
  steps: [],
};

test('every table of the lake has a place of its own in the row count table', () => {
  const counted = CONTRACTS.map(({ table }) => table).filter((table) => table !== 'loads' && table !== 'rejected');
  const text = rowCountTable(Object.fromEntries(counted.map((table, at) => [table, 1001 + at])), null);
  expect([...text.matchAll(/1,\d{3}/g)]).toHaveLength(counted.length);
});

test('files that were slow to read are named, with what to do', () => {
  const text = renderReport({ ...SUCCEEDED, slow: ['accelerometer_landing/large.json.gz'] });
  expect(text).toContain('## Slow to read\n\n- accelerometer_landing/large.json.gz\n\nA single task reads each of these');
  expect(text).toContain('land it in parts');
});

test('files of which every record was rejected are named, if they were published', () => {
  const useless = [{ file: 'customer_landing/people.csv', records: 1500 }];
  expect(renderReport({ ...SUCCEEDED, useless })).toMatch(
    /## Loaded, but every record was rejected\n\n[^]*customer_landing\/people\.csv \| +1,500 \|\n\nJSON lines are expected/,
  );
  expect(renderReport({ ...FAILED, useless })).not.toMatch(/every record/);
});

test('a report of a published run, as people read it', () => {
  expect(renderReport(SUCCEEDED)).toMatchInlineSnapshot(`
   "# SUCCEEDED: 3 files loaded, all tables published, 1 expectations met

   | zone    | customer |   accelerometer | step trainer | machine learning |
   | :------ | -------: | --------------: | -----------: | ---------------: |
   | landing |      956 | 81,273 (+1,273) |       28,680 |                  |
   | staging |      950 | 81,273 (+1,273) |       28,680 |                  |
   | trusted | 482 (−3) |          40,981 |       14,460 |                  |
   | curated |      482 |                 |              |  40,981 (+1,981) |

   43,681 at the same time = 40,981 same person + 2,700 other person, excluded

   ## Withheld: staged, but not trusted

   | readings      | reason     |   rows |
   | :------------ | :--------- | -----: |
   | accelerometer | no_consent | 40,292 |
   | step_trainer  | no_consent | 14,220 |

   ## Rejected in this run

   | landing table         | reason       | records |
   | :-------------------- | :----------- | ------: |
   | accelerometer_landing | broken_json  |       5 |
   | accelerometer_landing | not_a_number |       1 |

   ## Landed in this run

   | landing table         | landed | staged | duplicate | rejected |
   | :-------------------- | -----: | -----: | --------: | -------: |
   | accelerometer_landing |  1,279 |  1,273 |         0 |        6 |

   ## Time

   | step                     | seconds |
   | :----------------------- | ------: |
   | customer_trusted         |    0.50 |
   | machine_learning_curated |   12.35 |

   Policies: mlJoin person-and-time, consentFrom any-time. Run run-2, reported 2026-01-02T03:04:06.000Z.
   "
  `);
});

test('a report of a failed run, as people read it', () => {
  expect(renderReport(FAILED)).toMatchInlineSnapshot(`
   "# FAILED: nothing was published; the tables are as they were

   GateFailedError: 1 of 41 expectations not met. reject_ratio:customer_landing: expected at most 5%, found 60% (6 of 10)

   ## Expectations not met

   | expectation                   |   expected |         found | look at                 |
   | :---------------------------- | ---------: | ------------: | :---------------------- |
   | reject_ratio:customer_landing | at most 5% | 60% (6 of 10) | the rejects of this run |

   ## Held, waiting for a person

   | file                    | why                      |
   | :---------------------- | :----------------------- |
   | customer_landing/a.json | 6 of 10 records rejected |

   A withdrawal of consent in a customer file takes effect only once the file is loaded: deal with customer files first.

   ## Rejected in this run

   | landing table    | reason      | records |
   | :--------------- | :---------- | ------: |
   | customer_landing | broken_json |       6 |

   Policies: mlJoin time, consentFrom consent-date. Run run-3, reported 2026-01-02T03:04:06.000Z.
   "
  `);
});

test('counts of a run that published nothing stand under a title that says so', () => {
  const { withheld, identity } = SUCCEEDED;
  const text = renderReport({ ...FAILED, withheld, identity });
  expect(text).toMatch(
    /## What this run would have published\n\n43,681 at the same time = [^\n]*\n\n\| readings[^#]*\| step_trainer +\| no_consent/,
  );
  expect(text).not.toContain('## Withheld');
  expect(text.indexOf('43,681')).toBeGreaterThan(text.indexOf('would have published'));
});

test('that readings are held says nothing of withdrawals', () => {
  const held = [{ file: 'step_trainer_landing/a.json', version: 'v1', why: 'rejects' }];
  expect(renderReport({ ...FAILED, held })).not.toMatch(/withdrawal/);
});

test('a run without files says that tables were built anew', () => {
  expect(renderReport({ ...SUCCEEDED, files: 0, reason: 'definition' })).toMatch(
    /^# SUCCEEDED: tables built anew, all tables published/,
  );
});

test('a run that failed after it had published says so', () => {
  expect(renderReport({ ...FAILED, tables: SUCCEEDED.tables })).toMatch(/^# FAILED: the tables were published\n/);
});

test('the identity under mlJoin time says that strangers are paired', () => {
  expect(identitySentence({ sameTime: 43_681, samePerson: 40_981, otherPerson: 2_700 }, 'time')).toBe(
    '43,681 at the same time = 40,981 same person + 2,700 other person, included (mlJoin is time: strangers are paired)',
  );
});

test.each([
  [1, '1 person is trusted although one of their records does not share'],
  [1_200, '1,200 people are trusted although one of their records does not share'],
])('%d consents in doubt are told, and where to look', (people, told) => {
  const text = renderReport({ ...SUCCEEDED, consentsInDoubt: people });
  expect(text).toContain(`excluded\n\n${told}`);
  expect(text).toContain('docs/records.md, "Which record of a person decides"');
});

test('where no consent is in doubt, or nobody has counted them, nothing is said of it', () => {
  for (const consentsInDoubt of [0, null]) expect(renderReport({ ...SUCCEEDED, consentsInDoubt })).not.toContain('though');
});

test('the row count table has no changes without a run before', () => {
  expect(rowCountTable({ customer_landing: 2 }, null)).not.toMatch(/[(+−]/);
});

test('a table that was not there before has grown by all its rows', () => {
  expect(rowCountTable({ customer_landing: 2 }, {})).toContain('2 (+2)');
});

test('figures have their thousands separated, whatever the language of the machine', () => {
  expect([0, 999, 1_000, 1_234_567].map(figure)).toEqual(['0', '999', '1,000', '1,234,567']);
});

test('text that would break a table is kept inside its cell', () => {
  const lines = table(['file', 'why'], [['a|b.json', 'x']]).split('\n');
  expect(lines).toHaveLength(3);
  expect(lines[2]).toContain('a\\|b.json');
  const [, , cell = ''] = table(['file'], [[`a \r\n\t b${' '.repeat(1_000_000)}c\u202e`]]).split('\n');
  expect(cell).toMatch(/^\| a b {1000000}c\ufffd \|$/);
});
