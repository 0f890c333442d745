import type { Log } from '../functions/ports.ts';
import { figure, filesText, printable } from '../functions/core/textTable.ts';
import { settingsSchema } from '../functions/core/settings.ts';
import { LANDING_TABLES } from '../functions/core/steps.ts';

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
      (json ? process.stderr : process.stdout).write(`${printable(text)}\n`);
    },
    result(value, text) {
      process.stdout.write(json ? `${JSON.stringify(value, null, 2)}\n` : `${printable(text())}\n`);
    },
  };
}

/** A log that keeps to itself which landing files could not be read, by key, and why: the command says it once, at its end. */
export function noticingUnread(show: Log): { log: Log; unread: ReadonlyMap<string, string> } {
  const unread = new Map<string, string>();
  return {
    unread,
    log: (event, fields = {}) => {
      if (event === 'catalog_failed') unread.set(String(fields['key']), String(fields['error']));
      else show(event, fields);
    },
  };
}

const POLICIES = ['mlJoin', 'consentFrom'] as const;
const DEFAULTS = settingsSchema.parse({});

/** Shows each step of a run as it happens, with its counts and time. */
export function progress(output: Output): Log {
  let counts: string[] = [];
  const unread = new Set<string>();
  const line = (state: unknown, what: string, seconds: unknown): void => {
    output.say(`  ${String(state).padEnd(24)}${what.padEnd(36)}${Number(seconds).toFixed(2).padStart(7)} s`);
    counts = [];
  };
  return (event, fields = {}) => {
    const number = (name: string): string => figure(Number(fields[name] ?? 0));
    switch (event) {
      case 'run_requested':
        output.say(`Run ${String(fields['runId'])}`);
        break;
      case 'run_planned':
        counts.push(filesText(Number(fields['files'] ?? 0)));
        if (fields['definitionChanged'] === true)
          output.say('  All tables are built anew: settings, models or contracts have changed since the last published run');
        if (fields['definitionChanged'] === true || POLICIES.some((name) => fields[name] !== DEFAULTS[name]))
          output.say(`  Policies: ${POLICIES.map((name) => `${name} ${String(fields[name])}`).join(', ')}`);
        break;
      case 'table_staged':
        if (fields['staged'] !== 0) counts.push(`${number('staged')} staged`);
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
      case 'key_ignored':
        output.say(`  left alone: ${String(fields['key'])} belongs to no landing table: ${LANDING_TABLES.join(', ')}`);
        break;
      case 'catalog_failed':
        // An event and the next listing may both meet the file.
        if (!unread.has(String(fields['key'])))
          output.say(`  can't be read: ${String(fields['key'])}: ${String(fields['error'])}; mend it, then "stedi run"`);
        unread.add(String(fields['key']));
        break;
      case 'state_succeeded':
        line(fields['state'], counts.join(', '), fields['seconds']);
        break;
      case 'state_failed':
        line(fields['state'], 'FAILED', fields['seconds']);
        break;
      default:
    }
  };
}
