import { setTimeout as wait } from 'node:timers/promises';
import { generate } from '../../local/generate.ts';
import { lakePaths } from '../../local/lakePaths.ts';
import { illnesses, linkLanding, runToTheEnd } from '../support/crashes.ts';
import { temporaryFolders } from '../support/folders.ts';
import { fingerprint, startStedi, stedi } from '../support/lake.ts';

const newFolder = temporaryFolders();
const MINUTE = 60_000;
/** About 100 MB. */
const CUSTOMERS = 9_000;
const KILLS = 20;
const REBUILDS = 8;
const SEED = Number(process.env['KILL_SEED'] ?? Date.now() % 1_000_000);

/** Numbers from 0 to 1, the same for the same seed. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const template = newFolder();
let undisturbed: Record<string, string>;
let duration = 0;

beforeAll(async () => {
  await generate({ out: lakePaths(template).landing, customers: CUSTOMERS, dirty: true });
  const lake = newFolder();
  linkLanding(template, lake);
  const started = performance.now();
  await runToTheEnd(lake);
  duration = performance.now() - started;
  undisturbed = await fingerprint(lake);
}, 2 * MINUTE);

const random = numbers(SEED);
const moments = Array.from({ length: KILLS }, (_, kill) => ({ kill: kill + 1, share: (kill + random()) / KILLS }));

let killed = 0;
afterAll(() => {
  console.log(`${killed} of ${KILLS + REBUILDS} processes were killed before they ended by themselves`);
  expect(killed).toBeGreaterThan(0);
});

console.log(`Kills at random moments: KILL_SEED=${SEED} repeats them`);

test.each(moments)(
  `kill $kill of ${KILLS} (KILL_SEED=${SEED}), after $share of an undisturbed run`,
  async ({ share }) => {
    const lake = newFolder();
    linkLanding(template, lake);
    const running = startStedi(['run', '--lake', lake, '--set', 'maxRejectRatio=1']);
    await Promise.race([wait(share * duration), running.ended]);
    if ((await running.stop('SIGKILL')).signal === 'SIGKILL') killed += 1;
    await runToTheEnd(lake);
    expect(await fingerprint(lake)).toEqual(undisturbed);
    expect(await illnesses(lake)).toEqual([]);
  },
  MINUTE,
);

describe('rebuild --replace', () => {
  const rebuilt = newFolder();
  let rebuilding = 0;
  let before: Record<string, string>;
  beforeAll(async () => {
    await generate({ out: lakePaths(rebuilt).landing, dirty: true });
    await runToTheEnd(rebuilt);
    before = await fingerprint(rebuilt);
    const started = performance.now();
    const { code } = await stedi('rebuild', '--replace', '--lake', rebuilt, '--set', 'maxRejectRatio=1');
    rebuilding = performance.now() - started;
    expect(code).toBe(0);
  }, MINUTE);

  const shares = Array.from({ length: REBUILDS }, (_, kill) => ({ kill: kill + 1, share: (kill + random()) / REBUILDS }));
  test.each(shares)(
    `kill $kill of ${REBUILDS} (KILL_SEED=${SEED}), after $share of an undisturbed rebuild`,
    async ({ share }) => {
      const running = startStedi(['rebuild', '--replace', '--lake', rebuilt, '--set', 'maxRejectRatio=1']);
      await Promise.race([wait(share * rebuilding), running.ended]);
      if ((await running.stop('SIGKILL')).signal === 'SIGKILL') killed += 1;
      await runToTheEnd(rebuilt);
      expect(await fingerprint(rebuilt)).toEqual(before);
      expect(await illnesses(rebuilt)).toEqual([]);
    },
    MINUTE,
  );
});
