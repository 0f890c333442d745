import { AUDIT_NAMES } from '../../functions/core/auditNames.ts';
import { expectedCounts, judge } from '../../functions/core/expectations.ts';
import type { Audits, StepMetrics, Validation } from '../../functions/core/runFiles.ts';
import type { LandingTable, ModelTable } from '../../functions/core/steps.ts';
import { goodEvidence, load, manifestOf } from '../support/evidence.ts';
import type { Evidence } from '../support/evidence.ts';
import { settingsWith } from '../support/lakes.ts';

/** Every kind of expectation applies. */
const SETTINGS = settingsWith({
  minRecordsForRatio: 100,
  expectedCounts: { customer_landing: 100, customer_trusted: 60, same_time: 2100 },
});

function judged(evidence: Evidence, settings = SETTINGS): Validation {
  return judge(evidence, settings);
}

function failedNames(validation: Validation): string[] {
  return validation.expectations.filter(({ ok }) => !ok).map(({ name }) => name);
}

function metricsOf(evidence: Evidence, step: ModelTable): StepMetrics {
  const metrics = evidence.steps.find((candidate) => candidate.step === step);
  if (metrics === undefined) throw new Error(`no metrics of ${step}`);
  return metrics;
}

function loadOf(evidence: Evidence, table: LandingTable) {
  const found = evidence.steps.flatMap(({ staging }) => (staging?.landingTable === table ? staging.files : []))[0];
  if (found === undefined) throw new Error(`no load of ${table}`);
  return found;
}

function auditsOf(evidence: Evidence): Audits {
  if (evidence.audits === null) throw new Error('no audits');
  return evidence.audits;
}

/** A way to break each expectation; what else fails with it does not matter here. */
const BREAKS: Record<string, (evidence: Evidence) => void> = {
  ...Object.fromEntries(
    goodEvidence().steps.map(({ step }) => [`metrics:${step}`, (evidence: Evidence) => removeStep(evidence, step)]),
  ),
  'metrics:audits': (evidence) => (evidence.audits = null),
  'files:customer_landing': (evidence) => metricsOf(evidence, 'customer_trusted').staging?.files.pop(),
  'files:accelerometer_landing': (evidence) =>
    metricsOf(evidence, 'accelerometer_trusted').staging?.files.push(loadOf(evidence, 'accelerometer_landing')),
  'files:step_trainer_landing': (evidence) => metricsOf(evidence, 'step_trainer_trusted').staging?.files.pop(),
  'conservation:customer_landing': (evidence) => (loadOf(evidence, 'customer_landing').landed += 1),
  'conservation:accelerometer_landing': (evidence) => (loadOf(evidence, 'accelerometer_landing').duplicate += 1),
  'conservation:step_trainer_landing': (evidence) => (loadOf(evidence, 'step_trainer_landing').rejected += 1),
  'counted:customer_staging': (evidence) => inStaging(evidence, 'customer_trusted'),
  'counted:accelerometer_staging': (evidence) => inStaging(evidence, 'accelerometer_trusted'),
  'counted:step_trainer_staging': (evidence) => inStaging(evidence, 'step_trainer_trusted'),
  'counted:customer_trusted': (evidence) => (metricsOf(evidence, 'customer_trusted').rows += 1),
  'counted:accelerometer_trusted': (evidence) => (metricsOf(evidence, 'accelerometer_trusted').rows += 1),
  'counted:customers_curated': (evidence) => (metricsOf(evidence, 'customers_curated').rows += 1),
  'counted:step_trainer_trusted': (evidence) => (metricsOf(evidence, 'step_trainer_trusted').rows += 1),
  'counted:machine_learning_curated': (evidence) => (metricsOf(evidence, 'machine_learning_curated').rows += 1),
  'staged:customer_staging': (evidence) => (auditsOf(evidence).loads.customer_landing.staged -= 1),
  'staged:accelerometer_staging': (evidence) => (auditsOf(evidence).loads.accelerometer_landing.staged -= 1),
  'staged:step_trainer_staging': (evidence) => (auditsOf(evidence).loads.step_trainer_landing.staged -= 1),
  'staged:rejected': (evidence) => (auditsOf(evidence).counts.rejected -= 1),
  'rows:accelerometer': (evidence) => (auditsOf(evidence).withheld.accelerometer = { no_consent: 99 }),
  'rows:step_trainer': (evidence) => (auditsOf(evidence).withheld.step_trainer = {}),
  'rows:machine_learning': (evidence) => (auditsOf(evidence).identity.samePerson += 1),
  ...Object.fromEntries(AUDIT_NAMES.map((name) => [`audit:${name}`, (evidence: Evidence) => finding(evidence, name, 1)])),
  'shrink:customer_trusted': (evidence) => (metricsOf(evidence, 'customer_trusted').rowsBefore = 77),
  'shrink:accelerometer_trusted': (evidence) => (metricsOf(evidence, 'accelerometer_trusted').rowsBefore = 4000),
  'shrink:customers_curated': (evidence) => (metricsOf(evidence, 'customers_curated').rowsBefore = 4000),
  'shrink:step_trainer_trusted': (evidence) => (metricsOf(evidence, 'step_trainer_trusted').rowsBefore = 4000),
  'shrink:machine_learning_curated': (evidence) => (metricsOf(evidence, 'machine_learning_curated').rowsBefore = 4000),
  'expected:customer_landing': (evidence) => (auditsOf(evidence).loads.customer_landing.landed += 1),
  'expected:customer_trusted': (evidence) => (auditsOf(evidence).counts.customer_trusted += 1),
  'expected:same_time': (evidence) => (auditsOf(evidence).identity.sameTime -= 1),
  'reject_ratio:customer_landing': (evidence) => rejecting(evidence, 'customer_landing', 6),
  'reject_ratio:accelerometer_landing': (evidence) => rejecting(evidence, 'accelerometer_landing', 106),
  'reject_ratio:step_trainer_landing': (evidence) => rejecting(evidence, 'step_trainer_landing', 53),
};

function removeStep(evidence: Evidence, step: ModelTable): void {
  evidence.steps = evidence.steps.filter((metrics) => metrics.step !== step);
}

/** Makes an audit return this many rows. */
function finding(evidence: Evidence, audit: string, rows: number): void {
  for (const each of auditsOf(evidence).audits) if (each.name === audit) each.rows = rows;
}

function inStaging(evidence: Evidence, step: ModelTable): void {
  const { staging } = metricsOf(evidence, step);
  if (staging !== undefined) staging.rows += 1;
}

/** Gives a file, which had none or fewer, this many rejected records. */
function rejecting(evidence: Evidence, table: LandingTable, rejected: number): void {
  const file = loadOf(evidence, table);
  file.landed += rejected - file.rejected;
  file.rejected = rejected;
}

describe('a run in which everything is as it must be', () => {
  test('passes, and holds nothing', () => {
    const validation = judged(goodEvidence());
    expect(failedNames(validation)).toEqual([]);
    expect(validation).toMatchObject({ runId: 'run-1', ok: true, held: [] });
  });

  test('says what was expected and found of each, and where to look only of what failed', () => {
    const { expectations } = judged(goodEvidence());
    expect(expectations.filter(({ look }) => look !== undefined)).toEqual([]);
    expect(expectations.find(({ name }) => name === 'rows:accelerometer')).toEqual({
      name: 'rows:accelerometer',
      ok: true,
      expected: 2000,
      found: 2000,
    });
    expect(expectations.find(({ name }) => name === 'reject_ratio:customer_landing')).toMatchObject({
      expected: 'at most 5%',
      found: '4% (4 of 100)',
    });
  });

  test('is judged by every expectation that is broken below, each of its own name', () => {
    const names = judged(goodEvidence()).expectations.map(({ name }) => name);
    expect(names.toSorted()).toEqual(Object.keys(BREAKS).sort());
    expect(new Set(names).size).toBe(names.length);
  });

  test('is judged the same again', () => {
    expect(judged(goodEvidence())).toEqual(judged(goodEvidence()));
  });
});

test.each(Object.keys(BREAKS))('%s can fail', (name) => {
  const evidence = goodEvidence();
  BREAKS[name]?.(evidence);
  const validation = judged(evidence);
  expect(validation.ok).toBe(false);
  expect(failedNames(validation)).toContain(name);
  const failed = validation.expectations.find((expectation) => expectation.name === name);
  expect(failed?.found).not.toEqual(failed?.expected);
  expect(failed?.look).toMatch(/./);
  expect(validation.held.length).toBeGreaterThan(0);
});

test('a file of which another version was read was not read', () => {
  const evidence = goodEvidence();
  loadOf(evidence, 'customer_landing').version = 'v2';
  const failed = judged(evidence).expectations.filter(({ ok }) => !ok);
  expect(failed).toMatchObject([
    { name: 'files:customer_landing', look: expect.stringContaining('customer_landing/a v1') as unknown },
  ]);
});

test('a file that was read and not claimed fails the gate', () => {
  const evidence = goodEvidence();
  metricsOf(evidence, 'customer_trusted').staging?.files.push(load('customer_landing/b', { staged: 0 }));
  expect(failedNames(judged(evidence))).toEqual(['files:customer_landing']);
});

describe('missing results', () => {
  test('of everything fail the gate', () => {
    const { manifest } = goodEvidence();
    const validation = judge({ manifest, steps: [], audits: null }, SETTINGS);
    expect(validation.ok).toBe(false);
    expect(failedNames(validation)).toEqual([
      'metrics:customer_trusted',
      'metrics:accelerometer_trusted',
      'metrics:customers_curated',
      'metrics:step_trainer_trusted',
      'metrics:machine_learning_curated',
      'metrics:audits',
      'files:customer_landing',
      'files:accelerometer_landing',
      'files:step_trainer_landing',
    ]);
    expect(validation.held).toHaveLength(3);
  });

  test('of an audit are told as not run', () => {
    const evidence = goodEvidence();
    auditsOf(evidence).audits = [];
    expect(judged(evidence).expectations.find(({ name }) => name === 'audit:loaded_once')).toMatchObject({
      ok: false,
      found: 'not run',
    });
  });

  test('of a run without files are no fault: nothing was claimed, nothing is read', () => {
    const evidence = goodEvidence();
    evidence.manifest.files = [];
    for (const { staging } of evidence.steps) staging?.files.splice(0);
    expect(failedNames(judged(evidence))).toEqual([]);
  });
});

describe('the files that are held', () => {
  function twoFiles(bad: Partial<Parameters<typeof load>[1]>): Evidence {
    const evidence = goodEvidence();
    const files = [load('customer_landing/a', { staged: 86, rejected: 4 }), load('customer_landing/b', bad)];
    const staging = metricsOf(evidence, 'customer_trusted').staging;
    staging?.files.splice(0, 1, ...files);
    evidence.manifest.files = manifestOf('run-1', [
      ...files,
      loadOf(evidence, 'accelerometer_landing'),
      loadOf(evidence, 'step_trainer_landing'),
    ]).files;
    return evidence;
  }

  test('of a failed reject ratio are those that caused it, with their reasons', () => {
    const validation = judged(twoFiles({ staged: 4, rejected: 6, reasons: { broken_json: 5, not_text: 1 } }));
    expect(failedNames(validation)).toEqual(['reject_ratio:customer_landing']);
    expect(validation.held).toEqual([
      { file: 'customer_landing/b', version: 'v1', why: '6 of 10 records rejected, more than 5%: broken_json 5, not_text 1' },
    ]);
  });

  test('are none that reach the ratio and do not pass it', () => {
    const evidence = twoFiles({ staged: 4, rejected: 6 });
    const { held } = judged(evidence, settingsWith({ minRecordsForRatio: 1, maxRejectRatio: 4 / 90 }));
    expect(held.map(({ file }) => file)).toEqual(['customer_landing/b']);
  });

  test('are none that an earlier run has published: it was judged then', () => {
    const evidence = twoFiles({ staged: 4, rejected: 6, known: true });
    expect(failedNames(judged(evidence))).toEqual([]);
  });

  test('are none where each file passes alone: together they pass, too', () => {
    const evidence = goodEvidence();
    const { staging } = metricsOf(evidence, 'customer_trusted');
    const files = [
      load('customer_landing/a', { staged: 355, rejected: 145 }),
      load('customer_landing/b', { staged: 710, rejected: 290 }),
    ];
    staging?.files.splice(0, 1, ...files);
    const { expectations } = judged(evidence, settingsWith({ maxRejectRatio: 0.29 }));
    expect(expectations.find(({ name }) => name === 'reject_ratio:customer_landing')).toMatchObject({ ok: true });
  });

  test('are several, where several caused it', () => {
    const evidence = twoFiles({ staged: 4, rejected: 6 });
    rejecting(evidence, 'step_trainer_landing', 200);
    expect(judged(evidence).held.map(({ file }) => file)).toEqual(['customer_landing/b', 'step_trainer_landing/a']);
  });

  test('of any other failure are the whole claim; a culprit keeps its own reason', () => {
    const evidence = twoFiles({ staged: 4, rejected: 6, reasons: { not_text: 6 } });
    auditsOf(evidence).counts.loads = 4;
    finding(evidence, 'loaded_once', 2);
    const { held } = judged(evidence);
    const gate = 'the gate failed: audit:loaded_once, reject_ratio:customer_landing';
    expect(held.map(({ file, why }) => [file, why])).toEqual([
      ['customer_landing/a', gate],
      ['customer_landing/b', '6 of 10 records rejected, more than 5%: not_text 6'],
      ['accelerometer_landing/a', gate],
      ['step_trainer_landing/a', gate],
    ]);
  });
});

describe('the reject ratio', () => {
  test('applies from so many records of a landing table on', () => {
    const evidence = goodEvidence();
    rejecting(evidence, 'customer_landing', 53); // 149 records
    expect(failedNames(judged(evidence, settingsWith({ minRecordsForRatio: 150 })))).toEqual([]);
    expect(failedNames(judged(evidence, settingsWith({ minRecordsForRatio: 149 })))).toEqual(['reject_ratio:customer_landing']);
  });

  test('may be reached, not passed', () => {
    const evidence = goodEvidence();
    expect(failedNames(judged(evidence, settingsWith({ minRecordsForRatio: 1, maxRejectRatio: 0.04 })))).toEqual([]);
    expect(failedNames(judged(evidence, settingsWith({ minRecordsForRatio: 1, maxRejectRatio: 0.0399 })))).toEqual([
      'reject_ratio:customer_landing',
    ]);
  });

  test('of 1 lets everything pass, of 0 nothing', () => {
    const evidence = goodEvidence();
    const file = loadOf(evidence, 'customer_landing');
    expect(failedNames(judged(evidence, settingsWith({ minRecordsForRatio: 0, maxRejectRatio: 0 })))).toEqual([
      'reject_ratio:customer_landing',
    ]);
    Object.assign(file, { landed: 4, staged: 0, duplicate: 0, rejected: 4 });
    expect(failedNames(judged(evidence, settingsWith({ minRecordsForRatio: 0, maxRejectRatio: 1 })))).toEqual([]);
  });

  test('is not asked where nothing landed', () => {
    const evidence = goodEvidence();
    Object.assign(loadOf(evidence, 'customer_landing'), { landed: 0, staged: 0, duplicate: 0, rejected: 0 });
    const names = judged(evidence, settingsWith({ minRecordsForRatio: 0 })).expectations.map(({ name }) => name);
    expect(names).not.toContain('reject_ratio:customer_landing');
  });
});

describe('shrinking', () => {
  function customersAfter(rows: number, rowsBefore: number, rowsExcepted: number, changed = {}): string[] {
    const evidence = goodEvidence();
    Object.assign(evidence.manifest, changed);
    Object.assign(metricsOf(evidence, 'customer_trusted'), { rows, rowsBefore, rowsExcepted });
    auditsOf(evidence).counts.customer_trusted = rows;
    return failedNames(judged(evidence, settingsWith()));
  }

  test('by a fifth is allowed, by more is not', () => {
    expect(customersAfter(80, 100, 0)).toEqual([]);
    expect(customersAfter(79, 100, 0)).toEqual(['shrink:customer_trusted']);
  });

  test.each([
    [0.07, 1000, 930],
    [0.43, 100, 57],
    [0.2, 3, 3],
    [0.2, 6, 5],
    [1, 3, 0],
  ])('a ratio of %d of %d rows leaves at least %d', (maxShrinkRatio, rowsBefore, least) => {
    const evidence = goodEvidence();
    Object.assign(metricsOf(evidence, 'customers_curated'), { rowsBefore });
    const { expectations } = judged(evidence, settingsWith({ maxShrinkRatio }));
    expect(expectations.find(({ name }) => name === 'shrink:customers_curated')).toMatchObject({ expected: `at least ${least}` });
  });

  test('by rows of people who withdrew is allowed besides', () => {
    expect(customersAfter(50, 100, 30)).toEqual([]);
    expect(customersAfter(49, 100, 30)).toEqual(['shrink:customer_trusted']);
    expect(customersAfter(0, 100, 100)).toEqual([]);
  });

  test('is not judged of a table that was empty, nor when the definition changed', () => {
    expect(customersAfter(0, 0, 0)).toEqual([]);
    expect(customersAfter(1, 100, 0, { definitionChanged: true })).toEqual([]);
  });
});

describe('the pairs', () => {
  test('are those of one person, or of everybody under the policy mlJoin time', () => {
    const evidence = goodEvidence();
    evidence.manifest.policies.mlJoin = 'time';
    expect(judged(evidence).expectations.find(({ name }) => name === 'rows:machine_learning')).toMatchObject({
      ok: false,
      expected: 2100,
      found: 1900,
    });
    auditsOf(evidence).counts.machine_learning_curated = 2100;
    metricsOf(evidence, 'machine_learning_curated').rows = 2100;
    expect(failedNames(judged(evidence))).toEqual([]);
  });
});

describe('expected counts', () => {
  test('are compared table by table', () => {
    expect(expectedCounts({ loads: 3, same_time: 8 }, { loads: 3, same_time: 7 })).toEqual([
      { name: 'expected:loads', ok: true, expected: 3, found: 3 },
      {
        name: 'expected:same_time',
        ok: false,
        expected: 7,
        found: 8,
        look: 'expectedCounts in the settings, or --expect',
      },
    ]);
  });

  test('that nobody gave are none', () => {
    expect(expectedCounts({ loads: 3 }, {})).toEqual([]);
  });
});
