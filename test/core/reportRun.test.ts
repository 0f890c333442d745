import { reportRun } from '../../functions/core/reportRun.ts';
import { validateRun } from '../../functions/core/validateRun.ts';
import { report } from '../../functions/report.ts';
import { lambdaContext } from '../../local/lambdaContext.ts';
import { goodEvidence } from '../support/evidence.ts';
import { settingsWith } from '../support/lakes.ts';
import { temporaryWorlds } from '../support/world.ts';
import type { World } from '../support/world.ts';

const newWorld = temporaryWorlds();

/** A run that was built, judged and published as the gate saw it. */
async function published(world: World): Promise<void> {
  const evidence = goodEvidence();
  await world.writeEvidence('run-1', evidence);
  await validateRun(world.ports, settingsWith(), 'run-1');
  if (evidence.audits !== null) world.lake.counts = evidence.audits.counts;
  world.publish('run-1');
}

describe('the gate', () => {
  test('writes its judgement and lets a good run pass', async () => {
    const world = newWorld();
    await world.writeEvidence('run-1', goodEvidence());
    const passed = await validateRun(world.ports, settingsWith(), 'run-1');
    expect(passed).toMatchObject({ runId: 'run-1' });
    expect(passed.expectations).toBeGreaterThan(20);
    expect(JSON.parse((await world.runFiles.read('run-1', 'validation.json')) ?? '')).toMatchObject({ ok: true, held: [] });
  });

  test('fails with a name and what was not met, and writes its judgement too', async () => {
    const world = newWorld();
    const evidence = goodEvidence();
    if (evidence.audits !== null) evidence.audits.counts.customer_trusted = 61;
    await world.writeEvidence('run-1', evidence);
    await expect(validateRun(world.ports, settingsWith(), 'run-1')).rejects.toMatchObject({
      name: 'GateFailedError',
      message: expect.stringMatching(
        /^1 of \d+ expectations not met\. counted:customer_trusted: expected 60, found 61$/,
      ) as unknown,
    });
    expect(JSON.parse((await world.runFiles.read('run-1', 'validation.json')) ?? '')).toMatchObject({ ok: false });
  });

  test('fails where a job left no result', async () => {
    const world = newWorld();
    await world.writeEvidence('run-1', { ...goodEvidence(), audits: null });
    await expect(validateRun(world.ports, settingsWith(), 'run-1')).rejects.toThrow(
      /metrics:audits: expected written, found missing/,
    );
  });

  test('fails where the run was never planned', async () => {
    await expect(validateRun(newWorld().ports, settingsWith(), 'run-1')).rejects.toMatchObject({
      name: 'GateFailedError',
    });
  });
});

describe('the report of a published run', () => {
  test('tells the published counts, what landed and what was withheld, and is sent', async () => {
    const world = newWorld();
    await published(world);
    expect(await reportRun(world.ports, 'run-1', null)).toMatchObject({
      runId: 'run-1',
      status: 'SUCCEEDED',
      error: null,
      reason: 'files',
      files: 3,
      tables: {
        customer_landing: 100,
        accelerometer_landing: 2000,
        customer_trusted: 60,
        machine_learning_curated: 1900,
        rejected: 4,
      },
      tablesBefore: null,
      loads: { customer_landing: { landed: 100, staged: 90, duplicate: 6, rejected: 4 } },
      rejected: { customer_landing: { missing_field: 1, not_text: 3 } },
      withheld: { accelerometer: { no_consent: 70, unknown_customer: 30 }, step_trainer: { no_motion: 50 } },
      identity: { sameTime: 2100, samePerson: 1900, otherPerson: 200 },
      held: [],
    });
    expect(await world.report('run-1')).toMatchObject({ status: 'SUCCEEDED' });
    const text = await world.runFiles.read('run-1', 'report.md');
    expect(world.alerts).toEqual([
      { subject: 'STEDI lakehouse: SUCCEEDED run-1', text, attributes: { status: 'SUCCEEDED', runId: 'run-1' } },
    ]);
  });

  test('does not call it publishing although its lock still does', async () => {
    const world = newWorld();
    await published(world);
    const lock = await world.ledger.takeLock('run-1');
    await world.ledger.markPublishing('run-1', lock?.fence ?? 0);
    expect(await reportRun(world.ports, 'run-1', null)).toMatchObject({ status: 'SUCCEEDED', publishing: false });
  });

  test('compares with a report that an earlier version has written', async () => {
    const world = newWorld();
    await published(world);
    await world.runFiles.write(
      'run-0',
      'report.json',
      JSON.stringify({ runId: 'run-0', tables: { customer_trusted: 59 }, was: 1 }),
    );
    const evidence = goodEvidence();
    evidence.manifest.previous = 'run-0';
    await world.writeEvidence('run-1', evidence);
    expect(await reportRun(world.ports, 'run-1', null)).toMatchObject({ tablesBefore: { customer_trusted: 59 } });
  });

  test('tells of this run what it has read, not what an earlier one had published', async () => {
    const world = newWorld();
    const evidence = goodEvidence();
    for (const { staging } of evidence.steps) for (const file of staging?.files ?? []) file.known = true;
    await world.writeEvidence('run-1', evidence);
    expect((await reportRun(world.ports, 'run-1', null)).loads).toMatchObject({
      customer_landing: { landed: 0, staged: 0, duplicate: 0, rejected: 0 },
    });
  });

  test('names the files that were slow to read', async () => {
    const world = newWorld();
    const evidence = goodEvidence();
    for (const { staging } of evidence.steps) {
      if (staging?.landingTable === 'accelerometer_landing') staging.slow = ['accelerometer_landing/a'];
    }
    await world.writeEvidence('run-1', evidence);
    expect(await reportRun(world.ports, 'run-1', null)).toMatchObject({ slow: ['accelerometer_landing/a'] });
  });

  test('names the files of which every record was rejected, and none that are empty', async () => {
    const world = newWorld();
    const evidence = goodEvidence();
    const [file, empty] = evidence.steps.flatMap(({ staging }) => staging?.files ?? []);
    if (file === undefined || empty === undefined) throw new Error('three files were staged');
    Object.assign(file, { landed: 3, staged: 0, duplicate: 0, rejected: 3 });
    Object.assign(empty, { landed: 0, staged: 0, duplicate: 0, rejected: 0 });
    await world.writeEvidence('run-1', evidence);
    expect((await reportRun(world.ports, 'run-1', null)).useless).toEqual([{ file: file.key, records: 3 }]);
  });

  test('compares with the run before', async () => {
    const world = newWorld();
    await published(world);
    await reportRun(world.ports, 'run-1', null);
    const evidence = goodEvidence();
    evidence.manifest.runId = 'run-2';
    evidence.manifest.previous = 'run-1';
    await world.writeEvidence('run-2', evidence);
    world.publish('run-2');
    expect(await reportRun(world.ports, 'run-2', null)).toMatchObject({
      tablesBefore: { customer_trusted: 60, customer_landing: 100 },
    });
  });

  test('fails when the tables are not what the gate saw', async () => {
    const world = newWorld();
    await published(world);
    world.lake.counts = { ...world.lake.counts, customers_curated: 49 };
    const told = await reportRun(world.ports, 'run-1', null);
    expect(told).toMatchObject({
      status: 'FAILED',
      error: { name: 'PublishedCountsDiffer', cause: 'published:customers_curated: expected 50, found 49' },
    });
    expect(told.expectations).toContainEqual({ name: 'published:customers_curated', ok: false, expected: 50, found: 49 });
    expect(world.alerts).toMatchObject([{ attributes: { status: 'FAILED' } }]);
  });

  test.each([
    ['run-0', 'run-0'],
    [null, 'a version that no run made'],
  ])('fails when somebody has written between Publish and Report, and the tables show %s', async (shown, found) => {
    const world = newWorld();
    await published(world);
    world.lake.published = shown === null ? null : { runId: shown, definition: 'abc' };
    const cause = `machine_learning_curated: expected the run run-1, found ${found}`;
    expect(await reportRun(world.ports, 'run-1', null)).toMatchObject({
      status: 'FAILED',
      error: { name: 'PublishedCountsDiffer', cause },
      tables: null,
    });
    expect(world.alerts).toMatchObject([{ attributes: { status: 'FAILED' }, text: expect.stringContaining(cause) as unknown }]);
  });
});

describe('the report of a failed run', () => {
  test('tells the error and that nothing was published', async () => {
    const world = newWorld();
    await world.writeEvidence('run-1', goodEvidence());
    world.publish('run-0');
    const told = await reportRun(world.ports, 'run-1', { name: 'LandingChangedError', cause: 'customer_landing/a vanished' });
    expect(told).toMatchObject({
      status: 'FAILED',
      error: { name: 'LandingChangedError', cause: 'customer_landing/a vanished' },
      tables: null,
    });
    expect(await world.runFiles.read('run-1', 'report.md')).toMatch(/^# FAILED: nothing was published/);
  });

  test('tells that nothing was published although another run publishes by now', async () => {
    const world = newWorld();
    await world.writeEvidence('run-1', goodEvidence());
    const lock = await world.ledger.takeLock('run-2');
    await world.ledger.markPublishing('run-2', lock?.fence ?? 0);
    const told = await reportRun(world.ports, 'run-1', { name: 'LandingChangedError', cause: 'customer_landing/a vanished' });
    expect(told).toMatchObject({ status: 'FAILED', publishing: false });
    expect(await world.runFiles.read('run-1', 'report.md')).toMatch(/^# FAILED: nothing was published/);
  });

  test('that had begun to publish tells that some tables may be published already', async () => {
    const world = newWorld();
    await world.writeEvidence('run-1', goodEvidence());
    const lock = await world.ledger.takeLock('run-1');
    await world.ledger.markPublishing('run-1', lock?.fence ?? 0);
    const told = await reportRun(world.ports, 'run-1', { name: 'States.TaskFailed', cause: 'the job was killed' });
    expect(told).toMatchObject({ status: 'FAILED', publishing: true });
    expect(world.alerts[0]?.text).toMatch(/^# FAILED: some tables may be published already/);
  });

  test('that had begun to publish all tables in one step published nothing', async () => {
    const world = newWorld();
    await world.writeEvidence('run-1', goodEvidence());
    const lock = await world.ledger.takeLock('run-1');
    await world.ledger.markPublishing('run-1', lock?.fence ?? 0);
    world.ports.lake.publishesAtOnce = true;
    const told = await reportRun(world.ports, 'run-1', { name: 'LakeUnusableError', cause: 'no space left' });
    expect(told).toMatchObject({ status: 'FAILED', publishing: false });
  });

  test('that was never planned can be told, too', async () => {
    const world = newWorld();
    expect(await reportRun(world.ports, 'run-1', { name: 'States.Runtime', cause: 'no path' })).toMatchObject({
      status: 'FAILED',
      files: 0,
      policies: null,
      plannedAt: null,
      expectations: [],
    });
  });

  test('that had been published all the same says that the tables were published', async () => {
    const world = newWorld();
    await published(world);
    await reportRun(world.ports, 'run-1', { name: 'Lambda.Unknown', cause: 'the report broke' });
    expect(await world.runFiles.read('run-1', 'report.md')).toMatch(/^# FAILED: the tables were published/);
  });
});

describe('the states Report and ReportFailure', () => {
  test('close the ledger of a published run before they report it', async () => {
    const world = newWorld();
    const files = await world.register('customer_landing/a');
    const lock = await world.ledger.takeLock('run-1');
    await world.ledger.claim('run-1', lock?.fence ?? 0, files);
    await published(world);
    expect(await report(world.ports)({ runId: 'run-1' }, lambdaContext('report'))).toEqual({
      runId: 'run-1',
      status: 'SUCCEEDED',
    });
    expect(await world.ledger.published()).toMatchObject({ runId: 'run-1' });
    expect(await world.ledger.claimed('run-1')).toEqual([]);
  });

  test('leave the claims of a failed run to reconcile, which knows when its jobs have ended', async () => {
    const world = newWorld();
    const files = await world.register('customer_landing/a');
    const lock = await world.ledger.takeLock('run-1');
    await world.ledger.claim('run-1', lock?.fence ?? 0, files);
    const event = { runId: 'run-1', error: { Error: 'GateFailedError', Cause: '1 of 40 expectations not met' } };
    expect(await report(world.ports)(event, lambdaContext('report'))).toEqual({ runId: 'run-1', status: 'FAILED' });
    expect(await world.states()).toEqual({ 'customer_landing/a': 'claimed' });
    expect(await world.report('run-1')).toMatchObject({ error: { name: 'GateFailedError' } });
  });

  test('tell the message alone, whatever Step Functions wraps it in', async () => {
    const world = newWorld();
    const Cause = JSON.stringify({ JobName: 'stedi-dev-publish', JobRunState: 'FAILED', ErrorMessage: 'main has moved' });
    await report(world.ports)({ runId: 'run-1', error: { Error: 'States.TaskFailed', Cause } }, lambdaContext('report'));
    expect(await world.report('run-1')).toMatchObject({ error: { name: 'States.TaskFailed', cause: 'main has moved' } });
    expect(world.alerts[0]?.text).toContain('States.TaskFailed: main has moved');
    expect(world.alerts[0]?.text).not.toContain('JobRunState');
  });

  test.each([{ Error: 'States.Timeout' }, { Error: 'States.Timeout', Cause: '' }])(
    'say in words that a state timed out: %j',
    async (error) => {
      const world = newWorld();
      await report(world.ports)({ runId: 'run-1', error }, lambdaContext('report'));
      expect(await world.runFiles.read('run-1', 'report.md')).toContain('States.Timeout: the state took longer than its timeout');
    },
  );

  test('refuse what is no event of theirs', async () => {
    await expect(report(newWorld().ports)({ run: 'run-1' }, lambdaContext('report'))).rejects.toThrow(/runId/);
  });
});
