import type { Log } from '../functions/ports.ts';
import { figure, filesText } from '../functions/core/renderReport.ts';

/** Where a command's words go: with `--json` standard output is one JSON value and everything else goes to standard error. */
export interface Output {
  json: boolean;
  /** A line for a person. */
  say(text: string): void;
  /** What the command came to: the value with `--json`, else the text. */
  result(value: unknown, text: () => string): void;
}

export function createOutput(json: boolean): Output {
  return {
    json,
    say(text) {
      (json ? process.stderr : process.stdout).write(`${text}\n`);
    },
    result(value, text) {
      process.stdout.write(json ? `${JSON.stringify(value, null, 2)}\n` : `${text()}\n`);
    },
  };
}

/** Shows each step of a run as it happens, with its counts and time. */
export function progress(output: Output): Log {
  let counts: string[] = [];
  return (event, fields = {}) => {
    const number = (name: string): string => figure(Number(fields[name] ?? 0));
    switch (event) {
      case 'run_requested':
        output.say(`Run ${String(fields['runId'])}`);
        break;
      case 'run_planned':
        counts.push(filesText(Number(fields['files'] ?? 0)));
        break;
      case 'table_staged':
        counts.push(`${number('rows')} staged`);
        break;
      case 'table_built':
        counts.push(`${number('rows')} rows`);
        break;
      case 'run_validated':
        counts.push(`${number('expectations')} expectations`);
        break;
      case 'file_held':
        output.say(`  held: ${String(fields['key'])}: ${String(fields['why'])}`);
        break;
      case 'catalog_failed':
        output.say(`  not cataloged: ${String(fields['key'])}: ${String(fields['error'])}`);
        break;
      case 'state_succeeded': {
        const state = String(fields['state']);
        output.say(`  ${state.padEnd(24)}${counts.join(', ').padEnd(36)}${Number(fields['seconds']).toFixed(2).padStart(7)} s`);
        counts = [];
        break;
      }
      default:
    }
  };
}
