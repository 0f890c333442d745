import { existsSync } from 'node:fs';
import { UsageError } from '../../functions/core/errors.ts';
import { figure, table } from '../../functions/core/textTable.ts';
import { generate } from '../generate.ts';
import { lakePaths } from '../home.ts';
import type { CommandContext } from '../lake.ts';

export interface GenerateFlags {
  out: string;
  customers: number;
  seed: number;
  dirty: boolean;
}

/** Sample data of the real shape, deterministic for a seed. */
export async function generateData({ output }: CommandContext, flags: GenerateFlags): Promise<number> {
  if (existsSync(lakePaths(flags.out).ledger))
    throw new UsageError(
      `--out ${flags.out}: this is a lake; name another folder, or its landing folder ${lakePaths(flags.out).landing}`,
    );
  const generated = await generate(flags);
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
