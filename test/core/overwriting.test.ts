import { planRun } from '../../functions/core/planRun.ts';
import { reconcileRuns } from '../../functions/core/reconcileRuns.ts';
import type { FileVersion, Landing, Ports } from '../../functions/ports.ts';
import { goodEvidence, load } from '../support/evidence.ts';
import { settingsWith } from '../support/lakes.ts';
import { temporaryWorlds } from '../support/world.ts';
import type { World } from '../support/world.ts';

const newWorld = temporaryWorlds();
const HOT = 'customer_landing/hot.json';

/** Landing as S3 keeps it: every version of a key can be copied, only the latest is read at its key. */
class VersionedLanding implements Landing {
  readonly #versions = new Map<string, FileVersion[]>();

  put(key: string): FileVersion {
    const versions = this.#versions.get(key) ?? [];
    const file: FileVersion = { table: 'customer_landing', key, version: `v${versions.length + 1}`, size: 1 };
    this.#versions.set(key, [...versions, file]);
    return file;
  }

  isCurrent({ key, version }: Pick<FileVersion, 'key' | 'version'>): boolean {
    return this.#versions.get(key)?.at(-1)?.version === version;
  }

  async prepare(runId: string, file: FileVersion, unsettled = false) {
    const input = this.isCurrent(file) && !unsettled ? null : `runs/${runId}/input/${file.version}/${file.key}`;
    return { ready: true, input } as const;
  }

  async head(): Promise<Uint8Array> {
    return Buffer.from('{}');
  }

  async *list(): AsyncIterable<FileVersion[]> {
    yield [...this.#versions.values()].flat();
  }
}

interface Stage {
  world: World;
  landing: VersionedLanding;
  ports: Ports;
}

function newStage(): Stage {
  const [world, landing] = [newWorld(), new VersionedLanding()];
  return { world, landing, ports: { ...world.ports, landing } };
}

/** One scheduled look, and the run that follows from it; `meanwhile` happens after its claim, before its jobs read. */
async function run({ world, landing, ports }: Stage, meanwhile: () => void): Promise<{ published: boolean; copies: number }> {
  const { started } = await reconcileRuns(ports, 'schedule');
  if (started === null) throw new Error('no run was started');
  await planRun(ports, settingsWith(), started);
  meanwhile();
  const { files } = await world.manifest(started);
  // As the jobs do: what is read at its key must be the version that was claimed.
  const published = files.every((file) => file.input !== null || landing.isCurrent(file));
  if (published) {
    const { steps, audits } = goodEvidence();
    for (const { staging } of steps) {
      if (staging !== undefined)
        staging.files = files
          .filter(({ table }) => table === staging.landingTable)
          .map(({ key, version }) => load(key, { version }));
    }
    await world.writeMetrics(started, { steps, audits });
    world.publish(started);
  }
  world.executions.end(started, published ? 'SUCCEEDED' : 'FAILED');
  await reconcileRuns(ports, 'execution ended');
  return { published, copies: files.filter(({ input }) => input !== null).length };
}

test.each([1, 2, 5])(
  'a key that is overwritten %i times while each run goes on fails no two runs, and holds nothing',
  async (times) => {
    const stage = newStage();
    const outcomes: boolean[] = [];
    stage.landing.put(HOT);
    for (let round = 0; round < 8; round += 1) {
      stage.landing.put(`customer_landing/innocent-${round}.json`);
      const { published } = await run(stage, () => {
        for (let time = 0; time < times; time += 1) stage.landing.put(HOT);
      });
      outcomes.push(published);
    }
    expect(outcomes.filter((published, at) => !published && outcomes[at - 1] === false)).toEqual([]);
    const files = Object.values(await stage.world.files());
    expect(files.filter(({ state }) => state === 'held')).toEqual([]);
    const innocent = files.filter(({ key }) => key !== HOT);
    expect(innocent).toHaveLength(8);
    expect(innocent.filter(({ state }) => state === 'loaded').length).toBeGreaterThanOrEqual(7);
  },
);

test('files that nobody overwrites are read where they stand', async () => {
  const stage = newStage();
  for (const name of ['a', 'b', 'c']) stage.landing.put(`customer_landing/${name}.json`);
  expect(await run(stage, () => undefined)).toEqual({ published: true, copies: 0 });
});

test('two versions of one key in a claim are enough to read copies of everything', async () => {
  const stage = newStage();
  stage.landing.put('customer_landing/other.json');
  stage.landing.put(HOT);
  stage.landing.put(HOT);
  expect(await run(stage, () => stage.landing.put(HOT))).toEqual({ published: true, copies: 3 });
});
