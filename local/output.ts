import { once } from 'node:events';
import type { Log } from '../functions/core/events.ts';
import { figure, filesText, printable } from '../functions/core/textTable.ts';
import { settingsSchema } from '../functions/core/settings.ts';
import { LANDING_TABLES } from '../functions/core/steps.ts';

/** Where a command's output goes: with `--json` standard output is JSON and the rest goes to standard error. */
export interface Output {
  json: boolean;
  /** A line for a person. */
  say(text: string): void;
  /** A command's result: the value with `--json`, else the text. */
  result(value: unknown, text: () => string): void;
  /** The same for any number of values: with `--json` one array, written as they come. After an error it holds those that came before. */
  results(values: AsyncIterable<unknown>, text: () => Promise<string>): Promise<void>;
  /** One of the values that a command without an end gives as they come, with `--json` on a line of its own; a person was told by `say`. */
  line(value: unknown): void;
}

/** `hasResult`: whether standard output has its value. */
export function createOutput(json: boolean): Output & { hasResult: boolean } {
  return {
    json,
    hasResult: false,
    say(text) {
      (json ? process.stderr : process.stdout).write(`${printable(text)}\n`);
    },
    result(value, text) {
      this.hasResult = true;
      process.stdout.write(json ? `${JSON.stringify(value, null, 2)}\n` : `${printable(text())}\n`);
    },
    async results(values, text) {
      if (!json) {
        const shown = await text();
        return this.result(null, () => shown);
      }
      try {
        for await (const value of values) {
          // The reader may have stopped reading.
          if (!process.stdout.writable) return;
          const indented = JSON.stringify(value, null, 2).replaceAll('\n', '\n  ');
          const isTaken = process.stdout.write(`${this.hasResult ? ',' : '['}\n  ${indented}`);
          this.hasResult = true;
          if (!isTaken) await once(process.stdout, 'drain').catch(() => undefined);
        }
      } finally {
        if (this.hasResult) process.stdout.write('\n]\n');
      }
      if (!this.hasResult) this.result([], () => '');
    },
    line(value) {
      if (json) process.stdout.write(`${JSON.stringify(value)}\n`);
    },
  };
}

/** A log that collects which landing files could not be read, by key, and why: the command reports them once, at its end. */
export function noticingUnread(show: Log): { log: Log; unread: ReadonlyMap<string, string> } {
  const unread = new Map<string, string>();
  return {
    unread,
    log: (...fact) => {
      const [event, fields] = fact;
      if (event === 'catalog_failed') unread.set(fields.key, fields.error);
      else show(...fact);
    },
  };
}

const POLICIES = ['mlJoin', 'consentFrom'] as const;
const DEFAULTS = settingsSchema.parse({});

/** Shows each step of a run as it happens, with its counts and time. */
export function progress(output: Output): Log {
  let counts: string[] = [];
  const unread = new Set<string>();
  const line = (state: string, what: string, seconds: number): void => {
    output.say(`  ${state.padEnd(24)}${what.padEnd(36)}${seconds.toFixed(2).padStart(7)} s`);
    counts = [];
  };
  return (event, fields) => {
    switch (event) {
      case 'run_requested':
        output.say(`Run ${fields.runId}`);
        break;
      case 'run_planned':
        counts.push(filesText(fields.files));
        if (fields.definitionChanged)
          output.say('  All tables are built anew: settings, models or contracts have changed since the last published run');
        if (fields.definitionChanged || POLICIES.some((name) => fields[name] !== DEFAULTS[name]))
          output.say(`  Policies: ${POLICIES.map((name) => `${name} ${fields[name]}`).join(', ')}`);
        break;
      case 'table_staged':
        if (fields.staged !== 0) counts.push(`${figure(fields.staged)} staged`);
        break;
      case 'table_built':
        counts.push(`${figure(fields.rows)} rows`);
        break;
      case 'run_validated':
        counts.push(`${figure(fields.expectations)} expectations`);
        break;
      case 'file_held':
        output.say(`  held: ${fields.key}: ${fields.why}`);
        break;
      case 'key_ignored':
        output.say(`  left alone: ${fields.key} belongs to none of the landing tables ${LANDING_TABLES.join(', ')}`);
        break;
      case 'catalog_failed':
        // An event and the next listing may both find the file.
        if (!unread.has(fields.key)) output.say(`  can't be read: ${fields.key}: ${fields.error}; fix it, then "stedi run"`);
        unread.add(fields.key);
        break;
      case 'state_succeeded':
        line(fields.state, counts.join(', '), fields.seconds);
        break;
      case 'state_failed':
        line(fields.state, 'FAILED', fields.seconds);
        break;
      default:
    }
  };
}
