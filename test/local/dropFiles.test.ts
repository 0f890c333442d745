import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { dropFiles, findDrops } from '../../local/dropFiles.ts';
import { lakePaths } from '../../local/lakePaths.ts';
import { PEOPLE } from '../support/commandLine.ts';
import { temporaryFolders } from '../support/folders.ts';
import { landAll, stedi } from '../support/lake.ts';
import { walk } from '../support/people.ts';

const newFolder = temporaryFolders();

/** Puts files without records into a folder. */
function filesIn(folder: string, ...names: string[]): string {
  mkdirSync(folder, { recursive: true });
  for (const name of names) writeFileSync(path.join(folder, name), '{}');
  return folder;
}

describe('the files of a source', () => {
  const ignore = () => undefined;

  test('belong to the landing table whose word comes last in their names', async () => {
    const source = filesIn(newFolder(), 'accelerometer-of-customer.json', 'customer-accelerometer.json');
    expect((await findDrops([source], null, ignore)).map(({ table }) => table)).toEqual([
      'customer_landing',
      'accelerometer_landing',
    ]);
  });

  test('are taken in where the source lies in the lake: somebody works there', async () => {
    const lake = newFolder();
    const mended = path.join(lake, 'mended');
    filesIn(path.join(mended, 'customer_landing'), 'a.json');
    expect(await findDrops([mended], lake, ignore)).toMatchObject([{ table: 'customer_landing' }]);
  });
});

test.each([
  [`${'ä'.repeat(120)}${'x'.repeat(10)}.json`, `${'ä'.repeat(120)}${'x'.repeat(8)}-2.json`],
  [`a.${'x'.repeat(248)}.json`, `a.${'x'.repeat(246)}-2.json`],
  [`${'x'.repeat(253)}.y`, `${'x'.repeat(251)}-2.y`],
  ['.hidden', '.hidden-2'],
])('a taken name gets a suffix, however long it is: %s', async (name, suffixed) => {
  const [source, landing] = [newFolder(), newFolder()];
  const file = path.join(source, name);
  const dropped = [];
  for (const content of ['{}', '{"a":1}', '{}']) {
    writeFileSync(file, content);
    dropped.push(...(await dropFiles(landing, [{ table: 'customer_landing', file }])));
  }
  expect(dropped).toEqual([
    { key: `customer_landing/${name}`, added: true },
    { key: `customer_landing/${suffixed}`, added: true },
    { key: `customer_landing/${name}`, added: false },
  ]);
});

test('with a run what killed copies have left goes, and what a copy that goes on has made stays', async () => {
  const lake = newFolder();
  const going = `.drop.${process.pid}.part`;
  landAll(lake, walk(PEOPLE));
  const folder = filesIn(path.join(lakePaths(lake).landing, 'customer_landing'), '.drop.4194303.part', going, 'other.part');
  await stedi('run', '--lake', lake);
  expect(readdirSync(folder).sort()).toEqual([going, 'other.part', 'people.json']);
});
