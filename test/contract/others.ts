import type { Executions, LandingTables, RunFiles } from '../../functions/ports.ts';
import type { LandingTable } from '../../functions/core/steps.ts';

/** What the files of runs must do. */
export function runFilesContract(name: string, open: () => Promise<RunFiles>): void {
  describe(`run files: ${name}`, () => {
    test('come back as they were written, by run and name', async () => {
      const files = await open();
      await files.write('run-1', 'manifest.json', '{"é": "😀\\n"}\n');
      await files.write('run-1', 'metrics/customer_trusted.json', 'one');
      await files.write('run-2', 'metrics/customer_trusted.json', 'two');
      expect(await files.read('run-1', 'manifest.json')).toBe('{"é": "😀\\n"}\n');
      expect(await files.read('run-1', 'metrics/customer_trusted.json')).toBe('one');
      expect(await files.read('run-2', 'metrics/customer_trusted.json')).toBe('two');
    });

    test('that were never written are null', async () => {
      const files = await open();
      expect(await files.read('run-1', 'manifest.json')).toBeNull();
      await files.write('run-1', 'manifest.json', '');
      expect(await files.read('run-1', 'manifest.json')).toBe('');
      expect(await files.read('run-1', 'manifest.json/below')).toBeNull();
      expect(await files.read('run-2', 'manifest.json')).toBeNull();
    });

    test('are replaced whole: a reader sees the one or the other', async () => {
      const files = await open();
      const [one, other] = ['a'.repeat(200_000), 'b'.repeat(300_000)];
      await files.write('run-1', 'report.md', one);
      const writing = (async () => {
        for (let round = 0; round < 20; round += 1) await files.write('run-1', 'report.md', round % 2 === 0 ? other : one);
      })();
      const seen = new Set<string | null>();
      for (let round = 0; round < 40; round += 1) seen.add(await files.read('run-1', 'report.md'));
      await writing;
      expect([...seen].filter((text) => text !== one && text !== other)).toEqual([]);
      expect(await files.read('run-1', 'report.md')).toBe(one);
    });
  });
}

/** Landing tables under test, and how to look at what they know. */
export interface LandingTablesBench {
  landingTables: LandingTables;
  extraColumns: (table: LandingTable) => Promise<string[]>;
}

export function landingTablesContract(name: string, open: () => Promise<LandingTablesBench>): void {
  describe(`landing tables: ${name}`, () => {
    test('learn columns and never forget one', async () => {
      const { landingTables, extraColumns } = await open();
      await landingTables.ensure('customer_landing', []);
      expect(await extraColumns('customer_landing')).toEqual([]);
      await landingTables.ensure('customer_landing', ['note', 'height']);
      await landingTables.ensure('customer_landing', ['note']);
      await landingTables.ensure('customer_landing', ['weight', 'note']);
      expect([...(await extraColumns('customer_landing'))].sort()).toEqual(['height', 'note', 'weight']);
      expect(await extraColumns('step_trainer_landing')).toEqual([]);
    });

    test('take several at the same time', async () => {
      const { landingTables, extraColumns } = await open();
      await Promise.all(Array.from({ length: 10 }, (_, at) => landingTables.ensure('customer_landing', ['same', `own_${at}`])));
      expect(await extraColumns('customer_landing')).toHaveLength(11);
    });
  });
}

/** Executions under test. */
export interface ExecutionsBench {
  executions: Executions;
  /** How often each run was executed. */
  executed: string[];
  /** Lets the executions that were started finish; the ones named here fail. */
  finish: (failing?: readonly string[]) => Promise<void>;
}

export function executionsContract(name: string, open: () => Promise<ExecutionsBench>): void {
  describe(`executions: ${name}`, () => {
    test('run from their start to their end', async () => {
      const { executions, finish, executed } = await open();
      expect(await executions.status('run-1')).toBe('NOT_STARTED');
      await executions.start('run-1');
      expect(await executions.status('run-1')).toBe('RUNNING');
      await finish();
      expect(await executions.status('run-1')).toBe('SUCCEEDED');
      expect(await executions.status('run-2')).toBe('NOT_STARTED');
      expect(executed).toEqual(['run-1']);
    });

    test('that fail are FAILED, and the next ones go on', async () => {
      const { executions, finish } = await open();
      await executions.start('run-1');
      await executions.start('run-2');
      await finish(['run-1']);
      expect(await executions.status('run-1')).toBe('FAILED');
      expect(await executions.status('run-2')).toBe('SUCCEEDED');
    });

    test('start once by their name, running or ended', async () => {
      const { executions, finish, executed } = await open();
      await executions.start('run-1');
      await executions.start('run-1');
      await finish();
      await executions.start('run-1');
      await finish();
      expect(executed).toEqual(['run-1']);
      expect(await executions.status('run-1')).toBe('SUCCEEDED');
    });

    test('leave no jobs behind', async () => {
      const { executions, finish } = await open();
      await executions.start('run-1');
      await finish(['run-1']);
      await expect(executions.stopJobs('run-1')).resolves.toBeUndefined();
      await expect(executions.stopJobs('run-none')).resolves.toBeUndefined();
    });
  });
}
