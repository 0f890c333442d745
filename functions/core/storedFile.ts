import type { FileFormat, FileState, LedgerFile } from '../ports.ts';
import type { LandingTable } from './steps.ts';

export const FILE_STATES = ['pending', 'claimed', 'loaded', 'held'] as const;
export const FILE_FORMATS = ['json', 'gzip', 'empty', 'unknown'] as const;

/** A file version as the ledgers of both homes store it; what is not known is null. */
interface StoredFile {
  landing_table: LandingTable;
  key: string;
  version: string;
  size: number;
  state: FileState;
  run_id: string | null;
  attempts: number;
  why: string | null;
  format: FileFormat;
  unknown_fields: string[];
  landed: number | null;
  staged: number | null;
  duplicate: number | null;
  rejected: number | null;
  arrived_at: string;
  retried_at: string | null;
}

export function ledgerFileOf(stored: StoredFile): LedgerFile {
  const { landing_table: table, key, version, size, state, run_id: runId, attempts, why, format } = stored;
  const { landed, staged, duplicate, rejected, arrived_at: arrivedAt } = stored;
  const isCounted = landed !== null && staged !== null && duplicate !== null && rejected !== null;
  return {
    table,
    key,
    version,
    size,
    state,
    runId,
    attempts,
    why,
    format,
    unknownFields: stored.unknown_fields,
    arrivedAt,
    waitsSince: stored.retried_at ?? arrivedAt,
    counts: isCounted ? { landed, staged, duplicate, rejected } : null,
  };
}
