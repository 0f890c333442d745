import type { LandingTable, ModelTable } from './steps.ts';
import type { LoadCounts } from './runFiles.ts';
import type { Outcome } from './settleRun.ts';
import type { Policies } from './settings.ts';
import type { FileFormat } from '../ports.ts';

/**
 * Every fact that functions and the command line log, by its event name (the Glue jobs have their own, in glue/): on AWS a line of JSON
 * that metric filters, alarms and the dashboard read (resources/sight.yml); on one machine what the command line shows of a run. Values
 * are counts, keys, run ids and field names, never a person's data.
 */
export interface Events {
  // Files
  catalog_failed: { key: string; error: string };
  file_known: { key: string; version: string; format: FileFormat };
  file_registered: { key: string; version: string; format: FileFormat };
  file_held: { key: string; version: string; why: string };
  held_announced: { runId: string; files: number };
  key_ignored: { key: string };
  message_returned: { error: string };
  missed_files_registered: { files: number };
  listing_paused: { listedTo: string | null };
  schema_drift: { key: string; table: LandingTable; fields: string[] };
  columns_not_added: { runId: string; error: string };

  // Runs
  backlog: { pendingFiles: number; oldestPendingMinutes: number; runMinutes: number };
  run_not_requested: { error: string };
  run_requested: { runId: string; fence: number };
  run_start_repaired: { runId: string };
  run_planned: { runId: string; fence: number; files: number; definitionChanged: boolean } & Policies;
  run_validated: { runId: string; ok: boolean; expectations: number; failed: string[] };
  run_published: { runId: string };
  run_settled: { runId: string; outcome: Outcome; files: number };
  run_reported: { runId: string; status: string; files: number; withheld: number; jobSeconds: number } & LoadCounts;
  alert_failed: { runId: string; error: string };
  definition_given_up: { definition: string; runs: number };
  publish_not_finished: { runId: string; error: string };

  // States and jobs
  state_entered: { runId: string; state: string };
  state_succeeded: { runId: string; state: string; seconds: number };
  state_failed: { runId: string; state: string; seconds: number };
  table_staged: { runId: string; landingTable: LandingTable; files: number; staged: number };
  table_built: { runId: string; table: ModelTable; rows: number; before: number };
  job_ended: { runId: string; job: string; state: string | undefined; seconds: number; dpuSeconds: number };
}

/** Takes an event and its fields. */
export type Log = (...fact: { [Name in keyof Events]: [event: Name, fields: Events[Name]] }[keyof Events]) => void;
