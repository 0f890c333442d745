import { parseSettings, PUBLISHED_REFERENCE, settingsSchema } from '../../functions/core/settings.ts';
import { UsageError } from '../../functions/core/errors.ts';

function refusal(value: unknown, overrides: string[] = []): string {
  try {
    parseSettings(value, 'settings.json', overrides);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  return 'taken';
}

test('what is not set has its default', () => {
  expect(parseSettings({}, 'settings.json')).toEqual({
    mlJoin: 'person-and-time',
    consentFrom: 'any-time',
    maxRejectRatio: 0.05,
    minRecordsForRatio: 1000,
    maxShrinkRatio: 0.2,
    settleSeconds: 2,
    maxFilesPerRun: 10_000,
    maxGbPerRun: 200,
    expectedCounts: {},
    aws: {
      workerType: 'G.1X',
      maxWorkers: 10,
      jobTimeoutMinutes: 120,
      overdueMinutes: 180,
      waitingMinutes: 240,
      landingDays: 0,
      landingVersionDays: 365,
      logDays: 30,
      snapshotDays: 7,
      network: 'none',
      alertEmail: '',
      athenaScanGb: 100,
    },
  });
});

test('what is set is taken', () => {
  expect(parseSettings({ mlJoin: 'time', expectedCounts: { loads: 3, same_time: 4 } }, 'settings.json')).toMatchObject({
    mlJoin: 'time',
    expectedCounts: { loads: 3, same_time: 4 },
  });
});

test('of what only AWS needs a part may be set', () => {
  expect(parseSettings({ aws: { network: 'vpc' } }, 'settings.json').aws).toMatchObject({ network: 'vpc', workerType: 'G.1X' });
});

test('an unknown key is refused with the list of the known ones', () => {
  expect(refusal({ mlJion: 'time' })).toBe(
    'Settings (settings.json): unknown setting mlJion; expected one of mlJoin, consentFrom, maxRejectRatio, minRecordsForRatio, maxShrinkRatio, settleSeconds, maxFilesPerRun, maxGbPerRun, expectedCounts, aws',
  );
});

test.each([
  [{ mlJoin: 'person' }, /mlJoin: .*person-and-time.*time.*found "person"/],
  [{ consentFrom: null }, /consentFrom: .*found null/],
  [{ maxRejectRatio: 1.01 }, /maxRejectRatio: .*found 1.01/],
  [{ maxRejectRatio: -0.1 }, /maxRejectRatio: .*found -0.1/],
  [{ maxRejectRatio: '0.1' }, /maxRejectRatio: .*number.*found "0.1"/],
  [{ minRecordsForRatio: 2.5 }, /minRecordsForRatio: .*found 2.5/],
  [{ maxShrinkRatio: 2 }, /maxShrinkRatio: .*found 2/],
  [{ settleSeconds: 3601 }, /settleSeconds: .*3600.*found 3601/],
  [{ settleSeconds: -1 }, /settleSeconds: .*found -1/],
  [{ maxFilesPerRun: 0 }, /maxFilesPerRun: .*found 0/],
  [{ maxGbPerRun: 0 }, /maxGbPerRun: .*found 0/],
  [
    { expectedCounts: { customers: 5 } },
    /expectedCounts\.customers; expected one of customer_landing, .*customer_trusted.*same_time/,
  ],
  [{ expectedCounts: { loads: -5 } }, /expectedCounts\.loads: .*found -5/],
  [{ aws: { workers: 3 } }, /unknown setting aws\.workers; expected one of workerType, maxWorkers, /],
  [{ aws: { jobTimeoutMinutes: 240 } }, /aws\.jobTimeoutMinutes: .*found 240/],
  [{ aws: { logDays: 31 } }, /aws\.logDays: .*30.*found 31/],
  [{ aws: { alertEmail: 'nobody' } }, /aws\.alertEmail: .*found "nobody"/],
])('%j is refused with what was expected and found', (value, message) => {
  expect(refusal(value)).toMatch(message);
});

test('all that is wrong is told at once', () => {
  expect(refusal({ mlJoin: 'x', maxShrinkRatio: 7 })).toMatch(/mlJoin: .*; maxShrinkRatio: /);
});

test('both ends of the ranges are taken', () => {
  for (const value of [
    { maxRejectRatio: 0 },
    { maxRejectRatio: 1 },
    { settleSeconds: 0 },
    { settleSeconds: 3600 },
    { maxFilesPerRun: 1 },
    { minRecordsForRatio: 0 },
  ])
    expect(refusal(value)).toBe('taken');
});

describe('--set', () => {
  test('overrides the file; text needs no quotes', () => {
    const settings = parseSettings({ mlJoin: 'person-and-time', maxRejectRatio: 0.5 }, 'settings.json', [
      'mlJoin=time',
      'maxRejectRatio=0.1',
      'settleSeconds=0',
    ]);
    expect(settings).toMatchObject({ mlJoin: 'time', maxRejectRatio: 0.1, settleSeconds: 0 });
  });

  test('takes JSON, also with = inside, and quoted text', () => {
    expect(parseSettings({}, 'settings.json', ['expectedCounts={"loads":1}', 'mlJoin="time"'])).toMatchObject({
      expectedCounts: { loads: 1 },
      mlJoin: 'time',
    });
  });

  test('the last one of a key counts', () => {
    expect(parseSettings({}, 'settings.json', ['mlJoin=time', 'mlJoin=person-and-time']).mlJoin).toBe('person-and-time');
  });

  test.each(['mlJoin', '=time', ''])('%j is refused with an example', (override) => {
    expect(refusal({}, [override])).toBe(`--set ${override}: expected key=value, for example --set mlJoin=time`);
  });

  test('of an unknown key or a wrong value says where it came from', () => {
    expect(refusal({}, ['nope=1'])).toMatch(
      /^Settings \(settings\.json with --set\): unknown setting nope; expected one of mlJoin, /,
    );
    expect(refusal({}, ['maxRejectRatio=lots'])).toMatch(/maxRejectRatio: .*found "lots"/);
    expect(refusal({}, ['maxRejectRatio='])).toMatch(/maxRejectRatio: .*found ""/);
  });

  test('leaves the value that was given alone', () => {
    const value = { mlJoin: 'time' };
    parseSettings(value, 'settings.json', ['mlJoin=person-and-time']);
    expect(value).toEqual({ mlJoin: 'time' });
  });
});

test('the counts of the published reference are counts that can be expected', () => {
  expect(settingsSchema.parse({ expectedCounts: PUBLISHED_REFERENCE }).expectedCounts).toEqual(PUBLISHED_REFERENCE);
});
