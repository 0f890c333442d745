import { z } from 'zod';
import { CONTRACTS } from '../../functions/core/contracts.ts';
import { stateOf } from '../../functions/core/steps.ts';
import { loadSettings } from '../lake.ts';
import type { CommandContext } from '../lake.ts';
import { stateMachine } from '../stateMachine.ts';
import type { Definition } from '../stateMachine.ts';

const choice = z.looseObject({
  Choices: z.array(z.looseObject({ Variable: z.string(), StringEquals: z.string(), Next: z.string() })),
  Default: z.string(),
});
const caught = z.looseObject({ Catch: z.array(z.looseObject({ Next: z.string() })) });

/** The state machine with its steps, as text: the path of a good run down the page, other branches beside it. */
export async function graph({ options, output }: CommandContext): Promise<number> {
  const definition = stateMachine(loadSettings(options));
  const grains = new Map(CONTRACTS.map(({ table, grain }) => [stateOf(table), grain]));
  const lines: string[] = [];
  for (let name: string | undefined = definition.StartAt; name !== undefined;) {
    const state: (typeof definition.States)[string] | undefined = definition.States[name];
    if (state === undefined) break;
    const ways = waysOf(state, definition.States);
    const failure = caught.safeParse(state);
    const what = grains.get(name) ?? (typeof state['Comment'] === 'string' ? state['Comment'] : '');
    lines.push(`${name.padEnd(24)}${state.Type.padEnd(9)}${what}`.trimEnd());
    lines.push(...ways.beside.map(({ when, next }) => `  ├─ ${when} ─▶ ${next}`));
    if (failure.success)
      lines.push(
        ...failure.data.Catch.map(({ Next }) => `  ├─ any error ─▶ ${Next} ─▶ ${definition.States[Next]?.Next ?? 'end'}`),
      );
    name = ways.down;
    lines.push(name === undefined ? '  ■' : '  ▼');
  }
  output.result(definition, () => lines.join('\n'));
  return 0;
}

interface Way {
  when: string;
  next: string;
}

/** Where a state leads: down the page a branch that does not fail, the default if possible. */
function waysOf(state: Definition['States'][string], states: Definition['States']): { down: string | undefined; beside: Way[] } {
  const branch = choice.safeParse(state);
  if (!branch.success) return { down: state.Next, beside: [] };
  const { Choices, Default } = branch.data;
  const ways = [
    { when: 'otherwise', next: Default },
    ...Choices.map(({ Variable, StringEquals, Next }) => ({ when: `${Variable.slice(2)} is ${StringEquals}`, next: Next })),
  ];
  const down = ways.find(({ next }) => states[next]?.Type !== 'Fail')?.next;
  return { down, beside: ways.filter(({ next }) => next !== down) };
}
