import { files } from '../../local/commands/files.ts';
import { retry } from '../../local/commands/retry.ts';
import { illnesses, killedAt, linkLanding, mixedFiles, runToTheEnd } from '../support/crashes.ts';
import { temporaryFolders } from '../support/folders.ts';
import { call, dump, landAll } from '../support/lake.ts';

const newFolder = temporaryFolders();
const MINUTE = 60_000;

/** What a run does, in order; it is killed right after. */
const POINTS = [
  'landingTables.ensure',
  'ledger.register',
  'ledger.takeLock',
  'executions.start',
  'log state_entered Plan',
  'ledger.claim',
  'runFiles.write manifest.json',
  'log table_staged customer_landing',
  'runFiles.write metrics/customer_trusted.json',
  'log table_staged accelerometer_landing',
  'runFiles.write metrics/accelerometer_trusted.json',
  'runFiles.write metrics/customers_curated.json',
  'log table_staged step_trainer_landing',
  'runFiles.write metrics/step_trainer_trusted.json',
  'runFiles.write metrics/machine_learning_curated.json',
  'runFiles.write metrics/audits.json',
  'runFiles.write validation.json',
  'ledger.markPublishing',
  'log run_published',
  'ledger.settle',
  'ledger.setPublished',
  'runFiles.write report.json',
  'runFiles.write report.md',
  'alerts.send',
  'ledger.freeLock',
] as const;

const template = newFolder();
const early = (key: string) => key.endsWith('people.json') || key.endsWith('walk.json');
let inOneRun: Awaited<ReturnType<typeof dump>>;
let inTwoRuns: Awaited<ReturnType<typeof dump>>;

beforeAll(async () => {
  landAll(template, mixedFiles());
  const [one, two] = [newLake(), newLake(early)];
  await runToTheEnd(one);
  inOneRun = await dump(one);
  await runToTheEnd(two);
  linkLanding(template, two, (key) => !early(key));
  await runToTheEnd(two);
  inTwoRuns = await dump(two);
}, MINUTE);

function newLake(wanted?: (key: string) => boolean): string {
  const lake = newFolder();
  linkLanding(template, lake, wanted);
  return lake;
}

/** After one more run the lake is as if nothing had happened. */
async function expectRepaired(lake: string, expected: Awaited<ReturnType<typeof dump>>): Promise<void> {
  await runToTheEnd(lake);
  const tables = await dump(lake);
  expect(tables).toEqual(expected);
  expect(tables.loads).toHaveLength(Object.keys(mixedFiles()).length);
  expect(await illnesses(lake)).toEqual([]);
}

test.each(POINTS)(
  'killed after %s',
  async (point) => {
    const lake = newLake();
    await killedAt(lake, point);
    await expectRepaired(lake, inOneRun);
  },
  MINUTE,
);

test.each([
  'ledger.register',
  'executions.start',
  'log table_staged accelerometer_landing',
  'log run_published',
  'ledger.freeLock',
])(
  'killed after %s by a run that adds files to a lake',
  async (point) => {
    const lake = newLake(early);
    await runToTheEnd(lake);
    linkLanding(template, lake, (key) => !early(key));
    await killedAt(lake, point);
    await expectRepaired(lake, inTwoRuns);
  },
  MINUTE,
);

test.each([
  ['ledger.takeLock', 'executions.start'],
  ['ledger.claim', 'ledger.claim'],
  ['log table_staged step_trainer_landing', 'runFiles.write validation.json'],
  ['runFiles.write validation.json', 'log run_published'],
  ['log run_published', 'ledger.settle'],
  ['log run_published', 'ledger.setPublished'],
  ['log run_published', 'runFiles.write report.json'],
  ['ledger.settle', 'ledger.freeLock'],
])(
  'killed after %s, and the next run after %s',
  async (first, second) => {
    const lake = newLake();
    await killedAt(lake, first);
    await killedAt(lake, second);
    await expectRepaired(lake, inOneRun);
  },
  MINUTE,
);

test(
  'killed three times in a row with the same files: they are held, and a retry takes them in',
  async () => {
    const lake = newLake();
    for (let kill = 0; kill < 3; kill += 1) await killedAt(lake, 'log table_staged customer_landing');
    await expect(runToTheEnd(lake)).rejects.toThrow('3 runs in a row ended before they could judge it');
    const { value } = await call({ lake }, (context) => files(context, 'held'));
    expect(value).toHaveLength(Object.keys(mixedFiles()).length);
    await call({ lake }, (context) => retry(context, Object.keys(mixedFiles()), undefined));
    await expectRepaired(lake, inOneRun);
  },
  MINUTE,
);
