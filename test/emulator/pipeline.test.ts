import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { GetTableCommand } from '@aws-sdk/client-glue';
import { PUBLISHED_REFERENCE } from '../../functions/core/settings.ts';
import { manifestSchema, reportSchema } from '../../functions/core/runFiles.ts';
import { until } from '../support/lake.ts';
import { CONSENT, customer, lines, motion, step, walk } from '../support/people.ts';
import { PATIENCE_SECONDS, Stage } from './stage.ts';

const REFERENCE = fileURLToPath(new URL('../../../shared/data/stedi', import.meta.url));

// One stage, used by one story after another, as a real one would be: each story starts from what the ones before it left.
let stage: Stage;
beforeAll(async () => {
  stage = await Stage.deploy();
});
afterAll(async () => stage?.remove());

async function expectTablesAsLanded(): Promise<void> {
  expect(await stage.counts()).toEqual(stage.expectedCounts());
}

async function lastRun(): Promise<{ name: string; status: string }> {
  const [last] = await stage.executions();
  if (last === undefined) throw new Error('no execution');
  return last;
}

test('the reference data become the published counts, and an alert says so', async () => {
  if (!existsSync(REFERENCE)) throw new Error('../shared/data/stedi is missing: the reference counts can’t be checked');
  await stage.putFolder(REFERENCE);
  const alert = await stage.alert('SUCCEEDED');
  expect(alert.status).toBe('SUCCEEDED');
  expect(alert.text).toContain('43,681 at the same time = 40,981 same person + 2,700 other person');
  await stage.untilIdle();
  const counts = await stage.counts();
  const { customer_trusted, accelerometer_trusted, customers_curated, step_trainer_trusted } = PUBLISHED_REFERENCE;
  expect(counts).toMatchObject({
    customer_trusted,
    accelerometer_trusted,
    customers_curated,
    step_trainer_trusted,
    machine_learning_curated: 40_981,
  });
  await expectTablesAsLanded();
  const report = reportSchema.parse(await stage.runFile((await lastRun()).name, 'report.json'));
  expect(report).toMatchObject({ status: 'SUCCEEDED', held: [] });
  expect((await stage.files()).every(({ state }) => state === 'loaded')).toBe(true);
  expect((await stage.executions()).length).toBeLessThanOrEqual(2);
  for (const table of ['customer_landing', 'accelerometer_landing', 'step_trainer_landing']) {
    const { Table } = await stage.glue.send(new GetTableCommand({ DatabaseName: 'stedi_test', Name: table }));
    expect(Table?.StorageDescriptor?.Location).toBe(`s3://${stage.bucketOf('landing')}/${table}/`);
  }
});

test('a second drop brings new people in and takes out who withdrew', async () => {
  const before = await stage.counts();
  await stage.putAll({
    ...walk([
      { email: 'new@example.test', shares: CONSENT },
      { email: 'leaving@example.test', shares: CONSENT },
    ]),
  });
  await stage.alert('SUCCEEDED');
  await stage.untilIdle();
  await expectTablesAsLanded();
  expect(await stage.counts()).toMatchObject({ customer_trusted: (before['customer_trusted'] ?? 0) + 2 });
  await stage.put('customer_landing/withdrawal.json', `${customer({ email: 'leaving@example.test', updated: CONSENT + 1 })}\n`);
  await stage.alert('SUCCEEDED');
  await stage.untilIdle();
  await expectTablesAsLanded();
  expect(await stage.counts()).toMatchObject({ customer_trusted: (before['customer_trusted'] ?? 0) + 1 });
});

test('a dirty file is held and the rest of its run is published', async () => {
  const dirty = Array.from({ length: 1200 }, (_, at) =>
    at % 4 === 0 ? '{"sensorReadingTime": broken}' : step('new@example.test', 1_700_000_000_000 + at),
  );
  await stage.withoutEvents(async () => {
    await stage.put('step_trainer_landing/dirty.json', lines(...dirty));
    await stage.put('accelerometer_landing/clean.json', lines(motion('new@example.test', 1_700_000_000_000)));
  });
  const landed = stage.landed.filter(({ key }) => !key.endsWith('dirty.json'));
  await stage.reconcile();
  const failed = await stage.alert('FAILED');
  expect(failed.text).toContain('GateFailedError');
  expect(failed.text).toContain('dirty.json');
  await stage.alert('SUCCEEDED');
  await stage.untilIdle();
  expect(await stage.counts()).toEqual(stage.expectedCounts(landed));
  expect((await stage.files()).filter(({ state }) => state === 'held').map(({ key }) => key)).toEqual([
    'step_trainer_landing/dirty.json',
  ]);
  stage.landed.splice(0, stage.landed.length, ...landed);
});

test('a failing job fails its execution, publishes nothing, and the next run repairs it', async () => {
  const before = await stage.counts();
  stage.planFault('step_trainer_trusted', { kind: 'fail' });
  await stage.putAll(walk([{ email: 'later@example.test', shares: CONSENT }]));
  const alert = await stage.alert('FAILED');
  expect(alert.text).toContain('planned by the test');
  await stage.untilIdle({ pendingStay: true });
  expect(await lastRun()).toMatchObject({ status: 'FAILED' });
  expect(await stage.counts()).toEqual(before);
  // Somebody starts the state machine by hand.
  expect(await stage.startByHand('by-hand-1')).toBe('SUCCEEDED');
  await stage.alert('SUCCEEDED');
  await stage.untilIdle();
  await expectTablesAsLanded();
});

test('an execution started by hand has nothing to do when nothing is pending', async () => {
  const before = await stage.counts();
  expect(await stage.startByHand('by-hand-2')).toBe('SUCCEEDED');
  await stage.untilIdle();
  expect(await stage.counts()).toEqual(before);
});

test('a file whose event was lost is found by reconcile', async () => {
  await stage.withoutEvents(async () =>
    stage.putAll(
      Object.fromEntries(
        Object.entries(walk([{ email: 'lost@example.test', shares: CONSENT }])).map(([key, content]) => [
          key.replace('.json', '-lost.json'),
          content,
        ]),
      ),
    ),
  );
  await stage.untilIdle();
  expect((await stage.files()).some(({ key }) => key.endsWith('-lost.json'))).toBe(false);
  await stage.reconcile();
  await stage.alert('SUCCEEDED');
  await stage.untilIdle();
  await expectTablesAsLanded();
});

test('an overwrite before the run reads loses nothing: both versions are loaded', async () => {
  await stage.withoutEvents(async () => {
    await stage.put('customer_landing/twice.json', `${customer({ email: 'first@example.test', shares: CONSENT })}\n`);
    await stage.put('customer_landing/twice.json', `${customer({ email: 'second@example.test', shares: CONSENT })}\n`);
  });
  await stage.reconcile();
  await stage.alert('SUCCEEDED');
  await stage.untilIdle();
  await expectTablesAsLanded();
  expect((await stage.files()).filter(({ key, state }) => key.endsWith('/twice.json') && state === 'loaded')).toHaveLength(2);
});

test('an overwrite after the claim fails that run, and the next one loads both versions', async () => {
  const gate = stage.gate('overwrite');
  stage.planFault('customer_trusted', { kind: 'wait', until: gate.file });
  await stage.putAll({ 'step_trainer_landing/overwritten.json': lines(step('new@example.test', 1_700_000_100_000)) });
  await gate.reached();
  await stage.put('step_trainer_landing/overwritten.json', lines(step('new@example.test', 1_700_000_200_000)));
  gate.open();
  expect((await stage.alert('FAILED')).text).toContain('overwritten.json was overwritten');
  await stage.untilIdle({ pendingStay: true });
  await stage.reconcile();
  await stage.alert('SUCCEEDED');
  await stage.untilIdle();
  await expectTablesAsLanded();
});

test('a job that outlives its aborted execution can’t write, and the next run is right', async () => {
  const gate = stage.gate('deaf');
  stage.planFault('accelerometer_trusted', { kind: 'wait', until: gate.file, deaf: true });
  await stage.put('accelerometer_landing/aborted.json', lines(motion('new@example.test', 1_700_000_300_000)));
  await gate.reached();
  const aborted = (await stage.executions()).find(({ status }) => status === 'RUNNING');
  await stage.abort(aborted?.name ?? '');
  expect((await stage.alert('FAILED')).text).toContain('ABORTED');
  await stage.untilIdle({ pendingStay: true });
  await stage.put('accelerometer_landing/after.json', lines(motion('new@example.test', 1_700_000_400_000)));
  await stage.alert('SUCCEEDED');
  await stage.untilIdle();
  await expectTablesAsLanded();
  gate.open();
  await until('the job to give up', async () => stage.deafLog().includes('does not hold the run lock'), PATIENCE_SECONDS);
  await expectTablesAsLanded();
});

test('jobs of an old run that are started again, as a redriven execution would, refuse to write', async () => {
  const [old] = (await stage.executions()).filter(({ status, name }) => status === 'SUCCEEDED' && name.startsWith('run-'));
  const runId = old?.name ?? '';
  const { fence } = manifestSchema.parse(await stage.runFile(runId, 'manifest.json'));
  for (const job of ['customer_trusted', 'machine_learning_curated', 'publish'] as const) {
    const { state, message } = await stage.runJobAgain(job, runId, String(fence));
    expect({ job, state }).toEqual({ job, state: 'FAILED' });
    expect(message).toContain('does not hold the run lock');
  }
  await expectTablesAsLanded();
});

test('a crash after the second table of publish is carried to its end', async () => {
  stage.planFault('publish', { kind: 'crash', afterTables: 2 });
  await stage.putAll({ 'accelerometer_landing/crash.json': lines(motion('second@example.test', 1_700_000_500_000)) });
  expect((await stage.alert('FAILED')).text).toContain('some tables may be published already');
  await stage.alert('SUCCEEDED');
  await stage.untilIdle();
  await expectTablesAsLanded();
  const branches = await stage.rows(`select name from lake.stedi_test.machine_learning_curated.refs where type = 'BRANCH'`);
  expect(branches).toEqual([{ name: 'main' }]);
});

test('500 files at once become few runs, and none is lost', async () => {
  const before = (await stage.executions()).length;
  const people = Array.from({ length: 500 }, (_, at) => ({ email: `crowd-${at}@example.test`, shares: CONSENT }));
  await stage.putAll(
    Object.fromEntries(people.map((person) => [`customer_landing/crowd/${person.email}.json`, `${customer(person)}\n`])),
  );
  await stage.alert('SUCCEEDED');
  await stage.untilIdle();
  await expectTablesAsLanded();
  expect((await stage.executions()).length - before).toBeLessThanOrEqual(4);
});
