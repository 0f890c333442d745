import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { z } from 'zod';
import { rejects } from '../../local/commands/rejects.ts';
import { retry } from '../../local/commands/retry.ts';
import { run } from '../../local/commands/run.ts';
import { RunTables } from '../../local/duckdb/runTables.ts';
import { countOf, openSession } from '../../local/duckdb/session.ts';
import { ensureTables } from '../../local/duckdb/tables.ts';
import { LocalHome } from '../../local/home.ts';
import { lakePaths } from '../../local/lakePaths.ts';
import { manifestOf } from '../support/evidence.ts';
import { temporaryFolders } from '../support/folders.ts';
import { call, dump, landAll, runHere, stedi } from '../support/lake.ts';
import { land, runPending, settingsWith, temporaryLakes } from '../support/lakes.ts';
import { AT, CONSENT, customer, lines, motion, step, walk } from '../support/people.ts';

const newFolder = temporaryFolders();
const newLake = temporaryLakes();

const REFERENCE = fileURLToPath(new URL('../../../shared/data/stedi', import.meta.url));
const PEOPLE = [{ email: 'ann@x.org', shares: CONSENT }, { email: 'ben@x.org', shares: CONSENT }, { email: 'cem@x.org' }];

/** A lake with the walk of three people, two of whom share. */
async function walkedLake(): Promise<string> {
  const lake = newFolder();
  landAll(lake, walk(PEOPLE));
  expect(await runHere(lake)).toMatchObject({ status: 'SUCCEEDED', exitCode: 0, tables: WALKED });
  return lake;
}

const WALKED = {
  customer_landing: 3,
  accelerometer_landing: 3,
  step_trainer_landing: 3,
  customer_staging: 3,
  accelerometer_staging: 3,
  step_trainer_staging: 3,
  rejected: 0,
  customer_trusted: 2,
  accelerometer_trusted: 2,
  customers_curated: 2,
  step_trainer_trusted: 2,
  machine_learning_curated: 2,
};

describe('reference data', () => {
  const there = existsSync(REFERENCE);
  if (!there) console.warn(`The reference data are missing (${REFERENCE}): the published counts are not checked here`);

  (there ? test : test.skip)('the published counts under every policy', async () => {
    const lake = newFolder();
    const first = await runHere(lake, { sources: [REFERENCE], expect: 'published' });
    expect(first).toMatchObject({ status: 'SUCCEEDED', exitCode: 0, held: [] });
    expect(first.identity).toEqual({ sameTime: 43_681, samePerson: 40_981, otherPerson: 2_700 });
    expect(first.tables).toMatchObject({
      customer_landing: 956,
      accelerometer_landing: 81_273,
      step_trainer_landing: 28_680,
      rejected: 0,
      customer_trusted: 482,
      accelerometer_trusted: 40_981,
      customers_curated: 482,
      step_trainer_trusted: 14_460,
      machine_learning_curated: 40_981,
    });

    const byTime = await runHere(lake, { set: ['mlJoin=time'], expect: 'published' });
    expect(byTime).toMatchObject({ status: 'SUCCEEDED', exitCode: 0, tables: { machine_learning_curated: 43_681 } });

    const consentDate = ['consentFrom=consent-date'];
    const unexpected = await runHere(lake, { set: consentDate, expect: 'published' });
    expect(unexpected).toMatchObject({ status: 'FAILED', exitCode: 1, tables: { machine_learning_curated: 43_681 } });
    const sinceConsent = await runHere(lake, { set: consentDate });
    expect(sinceConsent).toMatchObject({
      status: 'SUCCEEDED',
      exitCode: 0,
      tables: {
        customer_trusted: 482,
        accelerometer_trusted: 32_025,
        customers_curated: 464,
        step_trainer_trusted: 11_297,
        machine_learning_curated: 32_025,
      },
    });
  });
});

describe('file versions', () => {
  test('an event delivered five times loads the file once', async () => {
    const home = newLake();
    land(home, 'customer_landing/people.json', lines(...PEOPLE.map(customer)));
    const file = await home.landing.current('customer_landing/people.json');
    if (file === null) throw new Error('the file is missing');
    await home.announce([file, file]);
    await home.announce([file]);
    await home.announce([file]);
    await home.executions.drain();
    await home.announce([file]);
    await home.executions.drain();
    expect(home.ended).toHaveLength(1);
    home.close();
    const { loads, customer_staging } = await dump(home.paths.folder);
    expect(loads).toHaveLength(1);
    expect(customer_staging).toHaveLength(3);
  });

  test('a file that was loaded is not read again', async () => {
    const lake = await walkedLake();
    const before = await dump(lake);
    expect(await runHere(lake)).toMatchObject({ status: 'NOTHING_TO_DO', exitCode: 0, runs: [], tables: WALKED });
    expect(await dump(lake)).toEqual(before);
  });

  test('the same content under a new name adds to landed, duplicate and rejected alone', async () => {
    const lake = await walkedLake();
    const content = `${lines(...PEOPLE.map(customer))}rubbish\n`;
    landAll(lake, { 'customer_landing/again.json': content });
    await runHere(lake);
    const before = await dump(lake);
    landAll(lake, { 'customer_landing/once-more.json': content });
    const { tables } = await runHere(lake);
    expect(tables).toEqual({ ...WALKED, loads: 5, customer_landing: 11, rejected: 2 });
    const { loads, rejected, ...rest } = await dump(lake);
    expect({ ...before, ...rest }).toEqual(before);
    expect(loads.filter((load) => load.includes('once-more'))).toEqual([
      expect.stringMatching(/"duplicate":3,.*"landed":4,.*"rejected":1,"staged":0/),
    ]);
    expect(rejected.filter((record) => record.includes('once-more'))).toHaveLength(1);
  });

  test('one reading that lands again under a new name is a duplicate, the only one of its time too', async () => {
    const lake = newFolder();
    const readings = (name: string) => ({
      [`accelerometer_landing/${name}.json`]: lines(motion('ann@x.org')),
      [`step_trainer_landing/${name}.json`]: lines(step('ann@x.org')),
    });
    landAll(lake, { 'customer_landing/ann.json': lines(customer({ email: 'ann@x.org', shares: CONSENT })), ...readings('once') });
    expect(await runHere(lake)).toMatchObject({ status: 'SUCCEEDED', tables: { machine_learning_curated: 1 } });
    landAll(lake, readings('again'));
    expect(await runHere(lake)).toMatchObject({
      status: 'SUCCEEDED',
      loaded: { landed: 2, staged: 0, duplicate: 2, rejected: 0 },
      tables: { accelerometer_staging: 1, step_trainer_staging: 1, machine_learning_curated: 1 },
    });
  });

  test('a file that is overwritten while it waits: the new content is loaded, the version that is gone is held', async () => {
    const lake = newFolder();
    const home = newLake(undefined, { folder: lake });
    land(home, 'customer_landing/people.json', lines(customer({ email: 'old@x.org', shares: CONSENT })));
    await home.announceLanding();
    land(home, 'customer_landing/people.json', lines(customer({ email: 'newer@x.org', shares: CONSENT })));
    await runPending(home);
    home.close();
    const { customer_staging, loads } = await dump(lake);
    expect(customer_staging).toEqual([expect.stringContaining('newer@x.org')]);
    expect(loads).toHaveLength(1);
    const states = async () => {
      const again = newLake(undefined, { folder: lake });
      const found = [];
      for await (const { state, why } of again.ledger.files()) found.push([state, why]);
      again.close();
      return found;
    };
    expect(await states()).toEqual(
      expect.arrayContaining([
        ['held', expect.stringMatching(/overwritten.*"stedi retry" forgets/)],
        ['loaded', null],
      ]),
    );
    // Nobody can read the version that is gone, so a person who knows that may have it forgotten.
    const retried = await call({ lake }, (context) => retry(context, ['customer_landing/people.json'], undefined));
    expect(retried).toMatchObject({ exitCode: 0, value: { pending: [], forgotten: [{ key: 'customer_landing/people.json' }] } });
    expect(retried.text).toMatch(/customer_landing\/people\.json.*forgotten/);
    expect(await states()).toEqual([['loaded', null]]);
    expect(await runHere(lake)).toMatchObject({ status: 'NOTHING_TO_DO', exitCode: 0 });
  });

  test('a file that vanishes before it is read is held, and does not stand in the way of others', async () => {
    const home = newLake();
    land(home, 'customer_landing/gone.json', lines(customer({ email: 'gone@x.org' })));
    land(home, 'customer_landing/people.json', lines(...PEOPLE.map(customer)));
    await home.announceLanding();
    rmSync(home.landing.pathOf('customer_landing/gone.json'));
    expect(await runPending(home)).toMatchObject([{ status: 'SUCCEEDED' }]);
    home.close();
    expect(await runHere(home.paths.folder)).toMatchObject({ status: 'NOTHING_TO_DO', tables: { customer_landing: 3 } });
  });

  test.each([
    ['values that DuckDB reads as others', '12.5', 'true', '7'],
    ['lines that DuckDB can not read', '{', ']', '7'],
  ])(
    'a file that is overwritten by %s after it was scanned fails the run, and is right in the next one',
    async (_, ...distances) => {
      const lake = newFolder();
      landAll(lake, walk(PEOPLE));
      const overwritten = lines(...distances.map((distance) => step('ann@x.org').replace(/200/, distance)));
      const home = newLake(undefined, {
        folder: lake,
        log: (event, fields) => {
          if (event === 'state_entered' && fields.state === 'StepTrainerTrusted')
            land(home, 'step_trainer_landing/walk.json', overwritten);
        },
      });
      await home.announceLanding();
      await home.executions.drain();
      expect(home.ended).toMatchObject([{ status: 'FAILED' }]);
      expect(home.ended[0]?.error).toMatch(/^LandingChangedError: step_trainer_landing\/walk\.json was overwritten/);
      expect(await home.ports.lake.publishedRun()).toBeNull();
      home.close();
      const { status, tables, held } = await runHere(lake);
      expect({ status, tables }).toMatchObject({
        status: 'SUCCEEDED',
        tables: { customer_staging: 3, step_trainer_landing: 3, rejected: 2, step_trainer_staging: 1 },
      });
      expect(held.map(({ file, why }) => [file, /overwritten/.test(why)])).toEqual([['step_trainer_landing/walk.json', true]]);
    },
  );

  test('a file that is overwritten after it was loaded is loaded again, and takes nothing back', async () => {
    const lake = await walkedLake();
    landAll(lake, { 'customer_landing/people.json': lines(customer({ email: 'dan@x.org', shares: CONSENT })) });
    const { tables } = await runHere(lake);
    expect(tables).toEqual({ ...WALKED, loads: 4, customer_landing: 4, customer_staging: 4, customer_trusted: 3 });
  });

  test('a file that is deleted after it was loaded takes nothing back', async () => {
    const lake = await walkedLake();
    const before = await dump(lake);
    rmSync(path.join(lakePaths(lake).landing, 'accelerometer_landing/walk.json'));
    expect(await runHere(lake)).toMatchObject({ status: 'NOTHING_TO_DO', exitCode: 0, tables: WALKED });
    landAll(lake, { 'customer_landing/more.json': lines(customer({ email: 'dan@x.org' })) });
    await runHere(lake);
    const after = await dump(lake);
    expect(after.machine_learning_curated).toEqual(before.machine_learning_curated);
    expect(after.accelerometer_staging).toEqual(before.accelerometer_staging);
  });

  test('names with blanks, quotes, patterns and letters of any script', async () => {
    const lake = newFolder();
    const names = [
      "it's.json",
      'two words.json',
      '[x]*?.json',
      'größe-Ω-日本.json',
      '"quoted".json',
      'no-ending',
      'sub/folder/x.json',
    ];
    landAll(
      lake,
      Object.fromEntries(names.map((name, at) => [`customer_landing/${name}`, `${customer({ email: `p${at}@x.org` })}\n`])),
    );
    expect(await runHere(lake)).toMatchObject({
      status: 'SUCCEEDED',
      tables: { customer_staging: names.length, loads: names.length },
    });
  });

  test('fields that the contract does not know are noted on the ledger', async () => {
    const home = newLake();
    const [line = ''] = PEOPLE.map(customer);
    land(home, 'customer_landing/wide.json', lines(line.replace('{', '{"shoeSize":43,'), line.replace('{', '{"Nickname":"a",')));
    await runPending(home);
    const noted = [];
    for await (const { unknownFields } of home.ledger.files()) noted.push(unknownFields.toSorted());
    expect(noted).toEqual([['Nickname', 'shoeSize']]);
  });

  test('however many a record has, and whatever they are called, it is staged, and no one is named', async () => {
    const home = newLake();
    const [line = ''] = PEOPLE.map(customer);
    const many = Array.from({ length: 20_000 }, (_, at) => `"${at.toString(16).padStart(8, 'f')}":1,`).join('');
    land(home, 'customer_landing/wide.json', lines(line.replace('{', `{${many}"ann@x.org":{},"Ann Miller":1,`)));
    expect(await runPending(home)).toMatchObject([{ status: 'SUCCEEDED' }]);
    const noted = [];
    for await (const { state, unknownFields } of home.ledger.files())
      noted.push({ state, fields: unknownFields.length, unknownFields });
    expect(noted).toMatchObject([{ state: 'loaded', fields: 1000 }]);
    expect(JSON.stringify(noted)).not.toMatch(/ann@x.org|Ann Miller/);
  });

  test('what no run will read is named: what stands beside the landing tables, and names that can not be read', async () => {
    const lake = newFolder();
    landAll(lake, {
      'customer_landing/a.json': lines(...PEOPLE.map(customer)),
      'customers/b.json': '{}',
      'c.json': '{}',
      '\u001b[31mred.json': '{}',
      'customer_landing/a\\[b\u001b.json': lines(customer({ email: 'left@x.org' })),
    });
    writeFileSync(
      Buffer.concat([Buffer.from(`${lake}/landing/customer_landing/M`), Buffer.of(0xfc), Buffer.from('.json')]),
      '{}\n',
    );
    mkdirSync(Buffer.concat([Buffer.from(`${lake}/landing/customer_landing/f`), Buffer.of(0xfc), Buffer.from('nf')]));
    const { code, stdout } = await stedi('run', '--lake', lake);
    expect(code).toBe(1);
    expect(stdout).toContain('left alone: \ufffd[31mred.json');
    expect(stdout).toMatch(/customer_landing\/f\ufffdnf: its name is not UTF-8: rename it/);
    for (const stray of ['customers/', 'c.json'])
      expect(stdout).toContain(`left alone: ${stray} belongs to none of the landing tables`);
    expect(stdout).toMatch(/customer_landing\/M\ufffd\.json: its name is not UTF-8: rename it/);
    expect(stdout).toContain('customer_landing/a\\[b\ufffd.json: its path holds a backslash and one of [ * ?: rename it');
    expect((await dump(lake)).customer_staging).toHaveLength(PEOPLE.length);
    const found = await stedi('query', 'select count(*)::INT as people from customer_landing', '--lake', lake, '--json');
    expect(JSON.parse(found.stdout)).toEqual([{ people: PEOPLE.length }]);
    expect(found.stderr).toMatch(/Left out: customer_landing\/f\ufffdnf: its name is not UTF-8: rename it/);
    expect(found.stderr).toContain('customer_landing/a\\[b\ufffd.json: its path');
    // A question that names no landing table does not look there.
    expect(await stedi('query', 'from customer_trusted', '--lake', lake)).toMatchObject({ code: 0, stderr: '' });
  });

  test('more files than one run takes: several runs, the same tables', async () => {
    const [whole, cut] = [newFolder(), newFolder()];
    const files = Object.fromEntries(
      PEOPLE.flatMap((person, at) =>
        Object.entries(walk([person])).map(([key, text]) => [key.replace('.json', `-${at}.json`), text]),
      ),
    );
    landAll(whole, files);
    landAll(cut, files);
    expect((await runHere(whole)).runs).toHaveLength(1);
    const { runs, status, exitCode } = await runHere(cut, { set: ['maxFilesPerRun=2'] });
    expect({ runs: runs.length, status, exitCode }).toEqual({ runs: 5, status: 'SUCCEEDED', exitCode: 0 });
    const [one, other] = [await dump(whole), await dump(cut)];
    expect({ ...other, loads: null }).toEqual({ ...one, loads: null });
    expect(versionless(other.loads)).toEqual(versionless(one.loads));
  });
});

function versionless(loads: readonly string[]): string[] {
  return loads.map((load) => load.replace(/"version":"[^"]*"/, '')).sort();
}

describe('consent', () => {
  test('who withdraws disappears from all trusted and curated tables; who agrees later appears with all earlier readings', async () => {
    const lake = await walkedLake();
    const later = AT + 1_000_000;
    landAll(lake, {
      'customer_landing/changes.json': lines(
        customer({ email: 'ann@x.org', updated: later }),
        customer({ email: 'cem@x.org', shares: later, updated: later }),
      ),
    });
    expect((await runHere(lake)).status).toBe('SUCCEEDED');
    const { customer_staging, loads, ...rest } = await dump(lake);
    expect([customer_staging.length, loads.length]).toEqual([5, 4]);
    for (const table of [rest.customer_trusted, rest.accelerometer_trusted, rest.customers_curated, rest.step_trainer_trusted]) {
      expect(table).toEqual([expect.stringContaining('ben@x.org'), expect.stringContaining('cem@x.org')]);
    }
    expect(rest.machine_learning_curated).toEqual([
      expect.stringContaining('device-of-ben@x.org'),
      expect.stringContaining('device-of-cem@x.org'),
    ]);
  });

  test('settings take effect with the next run although no file arrived', async () => {
    const lake = newFolder();
    const [early, late] = [AT - 10, AT + 10];
    landAll(lake, {
      'customer_landing/people.json': lines(
        customer({ email: 'ann@x.org', shares: AT }),
        customer({ email: 'ben@x.org', shares: AT }),
      ),
      'accelerometer_landing/walk.json': lines(
        ...['ann@x.org', 'ben@x.org'].flatMap((email) => [motion(email, early), motion(email, late)]),
      ),
      'step_trainer_landing/walk.json': lines(step('ann@x.org', early), step('ben@x.org', late)),
    });
    expect((await runHere(lake)).tables).toMatchObject({
      accelerometer_trusted: 4,
      step_trainer_trusted: 2,
      machine_learning_curated: 2,
    });
    const byTime = await runHere(lake, { set: ['mlJoin=time'] });
    expect(byTime).toMatchObject({ status: 'SUCCEEDED', tables: { machine_learning_curated: 4 }, identity: { otherPerson: 2 } });
    const sinceConsent = await runHere(lake, { set: ['consentFrom=consent-date'] });
    expect(sinceConsent).toMatchObject({
      status: 'SUCCEEDED',
      tables: { accelerometer_trusted: 2, step_trainer_trusted: 1, machine_learning_curated: 1 },
      withheld: { accelerometer: { before_consent: 2 }, step_trainer: { before_consent: 1 } },
    });
    expect((await runHere(lake, { set: ['consentFrom=consent-date'] })).status).toBe('NOTHING_TO_DO');
    expect((await runHere(lake)).tables).toMatchObject({ accelerometer_trusted: 4, machine_learning_curated: 2 });
  });

  test('settings whose runs have failed, however often, are tried again by whoever asks', async () => {
    const lake = newFolder();
    landAll(lake, { 'customer_landing/a.json': lines(customer({ email: 'ann@x.org' })) });
    await runHere(lake);
    const byTime = settingsWith({ mlJoin: 'time' });
    const home = new LocalHome({ folder: lake, settings: byTime });
    await home.ledger.remember({
      ...(await home.ledger.memory()),
      tried: { definition: home.ports.definition, runs: 99 },
    });
    home.close();
    const { status, runs } = await runHere(lake, { set: ['mlJoin=time'] });
    expect({ status, runs: runs.length }).toEqual({ status: 'SUCCEEDED', runs: 1 });
  });
});

const rejectList = z.array(z.looseObject({ file: z.string(), record: z.string(), run_id: z.string() }));

test('rejected records are exported byte for byte, each landing file in a file of its own', async () => {
  const [lake, exported] = [newFolder(), newFolder()];
  const bytes = Buffer.concat([Buffer.from('{"email":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')]);
  landAll(lake, {
    'customer_landing/a.json': bytes,
    'customer_landing/a.json.gz': gzipSync('zipped rubbish\n'),
    'customer_landing/deep/a.json': 'deep rubbish\r\n',
  });
  await runHere(lake);
  await call({ lake }, (context) => rejects(context, undefined, exported));
  const files = readdirSync(exported, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const contents = files.map(({ parentPath, name }) => readFileSync(path.join(parentPath, name)).toString('latin1'));
  expect(contents.sort()).toEqual(['deep rubbish\n', 'zipped rubbish\n', `${bytes.toString('latin1')}\n`]);
});

test('rejects that fill several pieces are all kept, packed, and exported in their order', async () => {
  const [lake, exported] = [newFolder(), newFolder()];
  const rubbish = Array.from({ length: 20_000 }, (_, at) => `rubbish ${at}`);
  landAll(lake, { 'customer_landing/people.csv': rubbish.join('\n') });
  const { runs, tables } = await runHere(lake, { set: ['maxRejectRatio=1'] });
  expect(tables).toMatchObject({ rejected: rubbish.length });
  const kept = path.join(lakePaths(lake).runs, runs[0] ?? '', 'rejects', 'customer_landing.ndjson.gz');
  expect(statSync(kept).size).toBeLessThan(400_000); // of 5 MB
  const { value, text } = await call({ lake }, (context) => rejects(context, undefined, exported));
  expect(rejectList.parse(value).map(({ record }) => record)).toEqual(rubbish);
  expect(text).toMatch(/people\.csv \(20,000\)/);
  expect(readFileSync(path.join(exported, 'customer_landing', 'people.csv'), 'utf8')).toBe(`${rubbish.join('\n')}\n`);
  truncateSync(kept, 1_000);
  const damaged = call({ lake }, (context) => rejects(context, undefined, undefined));
  await expect(damaged).rejects.toThrow(/customer_landing\.ndjson\.gz is damaged: .*\. Move it away/);
});

test('rejects of several files are kept as one gzip member, because DuckDB may lose what stands behind the first', async () => {
  const lake = newFolder();
  const files = Array.from({ length: 5 }, (_, at) => [`customer_landing/${at}.json`, `rubbish ${at}\n`] as const);
  landAll(lake, Object.fromEntries(files));
  const { runs } = await runHere(lake);
  const kept = readFileSync(path.join(lakePaths(lake).runs, runs[0] ?? '', 'rejects/customer_landing.ndjson.gz'));
  const unpacked = gunzipSync(kept);
  expect(unpacked.toString().trimEnd().split('\n')).toHaveLength(5);
  // A member ends with the length of its content.
  expect(kept.readUInt32LE(kept.length - 4)).toBe(unpacked.length);
});

describe('the gate', () => {
  /** A lake with the walk of ten people who share, and half of the people. */
  async function lakeOfTen(set: string[] = []): Promise<{ lake: string; half: string[] }> {
    const lake = newFolder();
    const people = Array.from({ length: 10 }, (_, at) => ({ email: `p${at}@x.org`, shares: CONSENT }));
    landAll(lake, walk(people));
    expect(await runHere(lake, { set })).toMatchObject({ status: 'SUCCEEDED', tables: { machine_learning_curated: 10 } });
    return { lake, half: people.slice(0, 5).map(({ email }) => email) };
  }

  test('a file of rubbish beside good files is held with its rejects to see; a changed setting takes it in', async () => {
    const lake = newFolder();
    const rubbish = lines(...Array.from({ length: 20 }, (_, at) => `rubbish ${at}`));
    landAll(lake, { ...walk(PEOPLE), 'customer_landing/rubbish.json': rubbish });
    const limits = ['minRecordsForRatio=10'];
    const mixed = await runHere(lake, { set: limits });
    expect(mixed).toMatchObject({ status: 'SUCCEEDED', exitCode: 1, tables: WALKED });
    expect(mixed.held).toHaveLength(1);
    expect(mixed.held[0]?.file).toBe('customer_landing/rubbish.json');
    expect(mixed.held[0]?.why).toContain('20 of 20 records rejected');
    expect(mixed.runs).toHaveLength(2);

    const rejected = () => call({ lake }, (context) => rejects(context, undefined, undefined));
    const { value, text } = await rejected();
    expect(rejectList.parse(value).map(({ record }) => record)).toEqual(rubbish.trimEnd().split('\n'));
    expect(text).toMatch(/Held, so none of their records are loaded.*\n {2}customer_landing\/rubbish\.json$/);

    // It is held until somebody has looked, and every run says so.
    const again = await call({ lake, set: limits }, (context) => run(context, []));
    expect(again).toMatchObject({ exitCode: 1, value: { status: 'NOTHING_TO_DO', held: [], heldBefore: mixed.held } });
    expect(again.text).toMatch(/1 file held earlier still waits for a person: "stedi files --state held"/);
    await call({ lake }, (context) => retry(context, ['customer_landing/rubbish.json'], undefined));
    const taken = await runHere(lake, { set: [...limits, 'maxRejectRatio=1'] });
    expect(taken).toMatchObject({ status: 'SUCCEEDED', exitCode: 0, held: [], tables: { customer_landing: 23, rejected: 20 } });
    const judgedAgain = await rejected();
    expect(judgedAgain.text).not.toMatch(/Held/);
    expect(rejectList.parse(judgedAgain.value).map(({ run_id }) => run_id)).toEqual(Array(20).fill(taken.runs[0]));
  });

  test('a gate that fails leaves the published tables untouched and its run complete; the files can be run again', async () => {
    const lake = await walkedLake();
    const before = await dump(lake);
    landAll(lake, { 'customer_landing/more.json': lines(customer({ email: 'dan@x.org', shares: CONSENT })) });
    const failed = await runHere(lake, { set: ['expectedCounts={"customer_trusted":2}'] });
    expect(failed).toMatchObject({
      status: 'FAILED',
      exitCode: 1,
      tables: WALKED,
      held: [{ file: 'customer_landing/more.json' }],
    });
    expect(failed.expectations.filter(({ ok }) => !ok)).toMatchObject([
      { name: 'expected:customer_trusted', expected: 2, found: 3 },
    ]);
    expect(await dump(lake)).toEqual(before);

    const [runId = ''] = failed.runs;
    const left = readdirSync(path.join(lakePaths(lake).runs, runId), { recursive: true, encoding: 'utf8' });
    expect(left).toEqual(
      expect.arrayContaining([
        'manifest.json',
        ...[
          'customer_trusted',
          'accelerometer_trusted',
          'customers_curated',
          'step_trainer_trusted',
          'machine_learning_curated',
          'audits',
        ].map((name) => `metrics/${name}.json`),
        'validation.json',
        'report.json',
        'report.md',
      ]),
    );

    await call({ lake }, (context) => retry(context, [], runId));
    const mended = await runHere(lake, { set: ['expectedCounts={"customer_trusted":3}'] });
    expect(mended).toMatchObject({ status: 'SUCCEEDED', exitCode: 0, tables: { customer_landing: 4, customer_trusted: 3 } });
  });

  test('rows of people who withdraw may go, however many they are', async () => {
    const { lake, half } = await lakeOfTen();
    landAll(lake, {
      'customer_landing/changes.json': lines(...half.map((email) => customer({ email, updated: AT + 1_000_000 }))),
    });
    expect(await runHere(lake)).toMatchObject({
      status: 'SUCCEEDED',
      tables: {
        customer_trusted: 5,
        accelerometer_trusted: 5,
        customers_curated: 5,
        step_trainer_trusted: 5,
        machine_learning_curated: 5,
      },
      withheld: { accelerometer: { no_consent: 5 }, step_trainer: { no_consent: 5 } },
    });
  });

  test('a withdrawal in seconds changes nothing, and is told until the person is asked', async () => {
    const lake = await walkedLake();
    const told = /1 person is trusted although one of their records does not share/;
    const say = async (updated: number, shares?: number): Promise<void> => {
      landAll(lake, {
        [`customer_landing/${updated}.json`]: lines(customer({ email: 'ann@x.org', updated, ...(shares && { shares }) })),
      });
      expect(await runHere(lake)).toMatchObject({ status: 'SUCCEEDED', exitCode: 0 });
    };
    await say(Math.floor(AT / 1000));
    const again = await stedi('run', '--lake', lake);
    expect(again.stdout).toMatch(told);
    expect((await stedi('show', 'last', '--lake', lake)).stdout).toMatch(told);
    expect(await runHere(lake)).toMatchObject({ status: 'NOTHING_TO_DO', consentsInDoubt: 1, tables: { customer_trusted: 2 } });
    await say(AT + 2_000, CONSENT);
    expect(await runHere(lake)).toMatchObject({ consentsInDoubt: 0, tables: { customer_trusted: 2 } });
    await say(AT + 3_000);
    expect(await runHere(lake)).toMatchObject({ consentsInDoubt: 0, tables: { customer_trusted: 1 } });
  });

  test('rows of devices that become ambiguous may go, however many they are', async () => {
    const { lake, half } = await lakeOfTen();
    const newcomers = half.map((email) => customer({ email: `new-${email}`, serial: `device-of-${email}` }));
    landAll(lake, { 'customer_landing/newcomers.json': lines(...newcomers) });
    expect(await runHere(lake)).toMatchObject({
      status: 'SUCCEEDED',
      tables: {
        customer_trusted: 10,
        accelerometer_trusted: 10,
        customers_curated: 10,
        step_trainer_trusted: 5,
        machine_learning_curated: 5,
      },
      withheld: { accelerometer: {}, step_trainer: { ambiguous_device: 5 } },
    });
  });

  test('rows of devices that come to people who do not share may go, however many they are', async () => {
    const { lake, half } = await lakeOfTen();
    const changes = half.flatMap((email) => [
      customer({ email, serial: `new-device-of-${email}`, shares: CONSENT, updated: AT + 1_000_000 }),
      customer({ email: `new-${email}`, serial: `device-of-${email}` }),
    ]);
    landAll(lake, { 'customer_landing/changes.json': lines(...changes) });
    expect(await runHere(lake)).toMatchObject({
      status: 'SUCCEEDED',
      tables: { customer_trusted: 10, accelerometer_trusted: 10, step_trainer_trusted: 5, machine_learning_curated: 5 },
      withheld: { accelerometer: {}, step_trainer: { no_consent: 5 } },
    });
  });

  test('withdrawals may go where readings are paired by their time alone', async () => {
    const set = ['mlJoin=time'];
    const lake = newFolder();
    const emails = Array.from({ length: 10 }, (_, at) => `p${at}@x.org`);
    landAll(lake, {
      ...walk(emails.map((email) => ({ email, shares: CONSENT }))),
      'accelerometer_landing/walk.json': lines(...emails.map((email) => motion(email, AT))),
      'step_trainer_landing/walk.json': lines(...emails.map((email) => step(email, AT))),
    });
    expect(await runHere(lake, { set })).toMatchObject({ status: 'SUCCEEDED', tables: { machine_learning_curated: 100 } });
    const withdrawn = emails.slice(0, 5).map((email) => customer({ email, updated: AT + 1_000_000 }));
    landAll(lake, { 'customer_landing/changes.json': lines(...withdrawn) });
    expect(await runHere(lake, { set })).toMatchObject({ status: 'SUCCEEDED', tables: { machine_learning_curated: 25 } });
  });

  test('readings from before a later consent may go where only those since the consent count', async () => {
    const set = ['consentFrom=consent-date'];
    const { lake, half } = await lakeOfTen(set);
    const anew = half.map((email) => customer({ email, shares: AT + 1_000_000, updated: AT + 1_000_000 }));
    landAll(lake, { 'customer_landing/changes.json': lines(...anew) });
    expect(await runHere(lake, { set })).toMatchObject({
      status: 'SUCCEEDED',
      tables: { customer_trusted: 10, accelerometer_trusted: 5, step_trainer_trusted: 5, machine_learning_curated: 5 },
      withheld: { accelerometer: { before_consent: 5 } },
    });
  });

  test('a changed policy is applied although the file that came with it is held', async () => {
    const lake = newFolder();
    landAll(lake, walk([{ email: 'ann@x.org', shares: AT + 1 }]));
    expect(await runHere(lake)).toMatchObject({ status: 'SUCCEEDED', tables: { machine_learning_curated: 1 } });
    landAll(lake, { 'customer_landing/rubbish.json': lines(...Array.from({ length: 20 }, (_, at) => `rubbish ${at}`)) });
    const tightened = await runHere(lake, { set: ['consentFrom=consent-date', 'minRecordsForRatio=10'] });
    expect(tightened).toMatchObject({ status: 'SUCCEEDED', exitCode: 1, tables: { machine_learning_curated: 0 } });
    expect(tightened.runs).toHaveLength(2);
    expect(tightened.held).toMatchObject([{ file: 'customer_landing/rubbish.json' }]);
  });

  test('a published table that shrinks for another reason is not published', async () => {
    const lake = await walkedLake();
    const before = await dump(lake);
    const updated = AT + 1_000_000;
    // New devices: the old ones' readings are nobody's any more.
    const moved = ['ann@x.org', 'ben@x.org'].map((email) => customer({ email, serial: 'new', shares: CONSENT, updated }));
    landAll(lake, {
      'customer_landing/changes.json': lines(...moved.map((record, at) => record.replace('"new"', `"new-${at}"`))),
    });
    const failed = await runHere(lake);
    expect(failed).toMatchObject({ status: 'FAILED', exitCode: 1, tables: WALKED });
    const unmet = failed.expectations.filter(({ ok }) => !ok).map(({ name }) => name);
    expect(unmet).toEqual(['shrink:step_trainer_trusted', 'shrink:machine_learning_curated']);
    expect(await dump(lake)).toEqual(before);
    await call({ lake }, (context) => retry(context, ['customer_landing/changes.json'], undefined));
    expect(await runHere(lake, { set: ['maxShrinkRatio=1'] })).toMatchObject({ status: 'SUCCEEDED', exitCode: 0 });
  });
});

describe('the columns of a table', () => {
  async function tableIn(change: string) {
    const lake = await walkedLake();
    const session = await openSession(lakePaths(lake).tables, newFolder());
    await session.connection.run(change);
    return { lake, session };
  }

  test('are those of its contract: one that the contract has gained is added, null so far', async () => {
    const { lake, session } = await tableIn('alter table loads drop column run_id');
    await ensureTables(session.connection);
    expect(await countOf(session.connection, '(from loads where run_id is null)')).toBe(3);
    session.close();
    landAll(lake, { 'customer_landing/more.json': lines(customer({ email: 'dan@x.org' })) });
    expect(await runHere(lake)).toMatchObject({
      status: 'SUCCEEDED',
      tables: { ...WALKED, customer_landing: 4, customer_staging: 4 },
    });
  });

  test.each([
    ['alter table loads add column note VARCHAR', /loads\.json no longer has the column note/],
    ['alter table loads alter landed type VARCHAR', /loads\.json: landed is BIGINT, but the table has VARCHAR/],
  ])('are never taken away or given another type: %s', async (change, reason) => {
    const { session } = await tableIn(change);
    await expect(ensureTables(session.connection)).rejects.toThrow(reason);
    session.close();
  });
});

test.each(['AccelerometerTrusted', 'Publish'])(
  'a run that loses its lock before %s fails there and publishes nothing',
  async (state) => {
    const failed: string[] = [];
    const home = newLake(undefined, {
      log: (event, fields) => {
        if (event === 'state_failed') failed.push(fields.state);
        if (event !== 'state_entered' || fields.state !== state) return;
        const database = new DatabaseSync(home.paths.ledger);
        database.exec("update run_lock set run_id = 'run-other', fence = fence + 1");
        database.close();
      },
    });
    land(home, 'customer_landing/a.json', lines(customer({ email: 'ann@x.org' })));
    const [ended] = await runPending(home);
    expect(ended).toMatchObject({ status: 'FAILED', error: expect.stringMatching(/^LockLostError/) as unknown });
    expect(failed[0]).toBe(state);
    expect((await home.ports.lake.publishedRun())?.runId).not.toBe(ended?.runId);
  },
);

test('a run that started from another lake than is there when it publishes fails', async () => {
  const publishedRun = async () => ({ runId: 'run-other', definition: 'any' });
  const home = newLake(undefined, { decorate: (ports) => ({ ...ports, lake: { ...ports.lake, publishedRun } }) });
  land(home, 'customer_landing/a.json', lines(customer({ email: 'ann@x.org' })));
  expect(await runPending(home)).toMatchObject([
    { status: 'FAILED', error: expect.stringMatching(/^LockLostError: .*run-other/) as unknown },
  ]);
});

test('what started from another lake than is there may not be published', async () => {
  const lake = await walkedLake();
  const before = await dump(lake);
  const session = await openSession(lakePaths(lake).tables, newFolder());
  const folders = { landingRoot: lakePaths(lake).landing, scratchFolder: newFolder(), runFolder: newFolder() };
  const manifest = { ...manifestOf('run-late', []), previous: 'run-other' };
  const tables = await RunTables.begin({ session, runId: 'run-late', ...folders }, manifest);
  await expect(tables.checkUnmoved()).rejects.toMatchObject({
    name: 'LockLostError',
    message: expect.stringMatching(/the lake shows run \S+, but this run started from run-other/) as unknown,
  });
  await tables.end();
  session.close();
  expect(await dump(lake)).toEqual(before);
});
