import { existsSync } from 'node:fs';
import { UsageError } from '../../functions/core/errors.ts';
import { figure, table } from '../../functions/core/textTable.ts';
import { generate as generateFiles } from '../generate.ts';
import type { GenerateOptions } from '../generate.ts';
import { lakePaths } from '../lakePaths.ts';
import type { CommandContext } from '../lake.ts';

/** Sample data of the real shape, deterministic for a seed. */
export async function generate({ output }: CommandContext, flags: GenerateOptions): Promise<number> {
  if (existsSync(lakePaths(flags.out).ledger))
    throw new UsageError(
      `--out ${flags.out}: this is a lake; name another folder, or its landing folder ${lakePaths(flags.out).landing}`,
    );
  const generated = await generateFiles(flags);
  output.result(generated, () =>
    [
      `${figure(generated.files)} files, ${figure(generated.bytes)} bytes in ${flags.out}`,
      table(
        ['landing table', 'records'],
        Object.entries(generated.records).map(([name, records]) => [name, figure(records)]),
      ),
      ...(generated.defects.length === 0
        ? []
        : [
            table(
              ['defect', 'count', 'what'],
              generated.defects.map(({ kind, count, what }) => [kind, figure(count), what]),
              ['l', 'r', 'l'],
            ),
          ]),
      `Next: npx stedi run ${flags.out}`,
    ].join('\n\n'),
  );
  return 0;
}
