import { table } from '../../functions/core/renderReport.ts';

export interface Check {
  name: string;
  ok: boolean;
  found: string;
}

/** Checks as a table, and what they come to. */
export function checksText(checks: readonly Check[], whatNext: string): string {
  return [
    table(
      ['check', 'ok', 'found'],
      checks.map(({ name, ok, found }) => [name, ok ? 'yes' : 'NO', found]),
      ['l', 'l', 'l'],
    ),
    checks.every(({ ok }) => ok) ? 'This lake is healthy' : `This lake needs a look; ${whatNext}`,
  ].join('\n\n');
}
