import { temporaryFolders } from '../support/folders.ts';
import { LakeProperties } from '../support/lakeProperties.ts';

const newFolder = temporaryFolders();

/** A test of up to so many cases in so many seconds; says how many they were. */
export function holdsForMany(
  name: string,
  cases: number,
  seconds: number,
  property: (lakes: LakeProperties) => Promise<number>,
): void {
  test(
    name,
    async () => {
      const seed = Date.now() % 2 ** 31; // others each time
      const tried = await property(new LakeProperties(newFolder(), { cases, seconds, seed }));
      console.log(`${name}: ${tried} cases`);
      expect(tried).toBeGreaterThan(0);
    },
    10 * 60_000,
  );
}
