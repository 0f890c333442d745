import { z } from 'zod';
import { CONTRACTS } from '../../functions/core/contracts.ts';
import { stateOf } from '../../functions/core/steps.ts';
import { loadSettings } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import { stateMachine } from '../stateMachine.ts';

const choice = z.looseObject({ Choices: z.array(z.looseObject({ Next: z.string() })), Default: z.string() });
const caught = z.looseObject({ Catch: z.array(z.looseObject({ Next: z.string() })) });

/** The state machine with its steps, as text: the way when all goes well down the page, other ways beside it. */
export async function graph({ options, output }: CommandContext): Promise<number> {
  const definition = stateMachine(loadSettings(options));
  const grains = new Map(CONTRACTS.map(({ table, grain }) => [stateOf(table), grain]));
  const lines: string[] = [];
  for (let name: string | undefined = definition.StartAt; name !== undefined;) {
    const state: (typeof definition.States)[string] | undefined = definition.States[name];
    if (state === undefined) break;
    const branch = choice.safeParse(state);
    const failure = caught.safeParse(state);
    const what = grains.get(name) ?? (typeof state['Comment'] === 'string' ? state['Comment'] : '');
    lines.push(`${name.padEnd(24)}${state.Type.padEnd(9)}${what}`.trimEnd());
    if (branch.success) lines.push(...branch.data.Choices.map(({ Next }) => `  ├─ nothing to do ─▶ ${Next}`));
    if (failure.success)
      lines.push(
        ...failure.data.Catch.map(({ Next }) => `  ├─ any error ─▶ ${Next} ─▶ ${definition.States[Next]?.Next ?? 'end'}`),
      );
    name = branch.success ? branch.data.Default : state.Next;
    lines.push(name === undefined ? '  ■' : '  ▼');
  }
  output.result(definition, () => lines.join('\n'));
  return 0;
}
