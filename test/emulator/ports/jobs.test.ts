import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { CreateBucketCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { GetJobRunsCommand, GlueClient, StartJobRunCommand } from '@aws-sdk/client-glue';
import { JobRuns } from '../../../functions/aws/jobRuns.ts';
import type { JobStep } from '../../../functions/core/steps.ts';
import { emulatorOfTests, newExecutions, newJobs, newName, newS3Client } from './benches.ts';

const emulator = emulatorOfTests({ glueRunner: ['bash', 'test/emulator/ports/job'] });

async function open() {
  const glue = new GlueClient(emulator().client);
  const s3 = newS3Client(emulator());
  await s3.send(new CreateBucketCommand({ Bucket: 'scripts' }));
  await s3.send(new PutObjectCommand({ Bucket: 'scripts', Key: 'job.py', Body: '# never read' }));
  const prefix = await newJobs(glue);
  return {
    jobRuns: new JobRuns(glue, prefix, { pauseMs: 50, patienceMs: 5_000 }),
    impatient: new JobRuns(glue, prefix, { pauseMs: 50, patienceMs: 200 }),
    end: (runId: string, code = 0) => writeFileSync(path.join(emulator().glueFolder, `${runId}.end`), String(code)),
    start: async (step: JobStep, runId: string) =>
      glue.send(new StartJobRunCommand({ JobName: `${prefix}${step}`, Arguments: { '--run_id': runId, '--fence': '1' } })),
    states: async (step: JobStep) => {
      const { JobRuns: runs = [] } = await glue.send(new GetJobRunsCommand({ JobName: `${prefix}${step}` }));
      return runs.map(({ Arguments, JobRunState }) => `${Arguments?.['--run_id']} ${Arguments?.['--fence']} ${JobRunState}`);
    },
  };
}

describe('stopping', () => {
  test('ends every job of the run, and no other run’s', async () => {
    const { jobRuns, start, states, end } = await open();
    const [one, other] = [newName('run'), newName('run')];
    await start('customer_trusted', one);
    await start('publish', one);
    await start('accelerometer_trusted', other);
    await jobRuns.stop(one);
    expect(await states('customer_trusted')).toEqual([`${one} 1 STOPPED`]);
    expect(await states('publish')).toEqual([`${one} 1 STOPPED`]);
    expect((await states('accelerometer_trusted'))[0]).toMatch(/ (STARTING|RUNNING)$/);
    end(other);
  });

  test('of nothing is fine, and so is what has ended', async () => {
    const { jobRuns, end, states, start } = await open();
    const run = newName('run');
    await jobRuns.stop(run);
    end(run);
    await start('publish', run);
    while (!(await states('publish')).every((state) => state.endsWith('SUCCEEDED')));
    await jobRuns.stop(run);
    expect(await states('publish')).toEqual([`${run} 1 SUCCEEDED`]);
  });
});

describe('carrying a publish to its end', () => {
  test('runs its job with the run and its fence', async () => {
    const { jobRuns, end, states } = await open();
    const run = newName('run');
    end(run);
    await jobRuns.run('publish', run, 7);
    expect(await states('publish')).toEqual([`${run} 7 SUCCEEDED`]);
  });

  test('waits for the job that works for the run already', async () => {
    const { jobRuns, start, end, states } = await open();
    const run = newName('run');
    await start('publish', run);
    const waiting = jobRuns.run('publish', run, 7);
    setTimeout(() => end(run), 300);
    await waiting;
    expect(await states('publish')).toEqual([`${run} 1 SUCCEEDED`]);
  });

  test('fails with the job’s last words', async () => {
    const { jobRuns, end } = await open();
    const run = newName('run');
    end(run, 1);
    await expect(jobRuns.run('publish', run, 7)).rejects.toThrow(
      new RegExp(`${run} is FAILED: the job of ${run} was told to end`),
    );
  });

  test('does not wait for ever, and does not take another run’s job for its own', async () => {
    const { impatient, start, end } = await open();
    const [one, other] = [newName('run'), newName('run')];
    await start('publish', other);
    await expect(impatient.run('publish', one, 7)).rejects.toMatchObject({ name: 'ConcurrentRunsExceededException' });
    await expect(impatient.run('publish', other, 7)).rejects.toThrow(/has not ended yet; reconcile looks again/);
    end(other);
  });
});

describe('the status of an execution', () => {
  test.each([
    ['TIMED_OUT', 'FAILED'],
    ['PENDING_REDRIVE', 'FAILED'],
    ['ABORTED', 'ABORTED'],
    ['FAILED', 'FAILED'],
  ])('%s is %s', async (status, expected) => {
    const { executions, sfn } = await newExecutions(emulator());
    sfn.middlewareStack.add(() => async () => ({ output: { $metadata: {}, status }, response: {} }), { step: 'initialize' });
    expect(await executions.status('run-1')).toBe(expected);
  });
});
