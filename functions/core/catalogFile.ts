import type { FileFormat, FileVersion, Landing, NewFile, Ports } from '../ports.ts';
import { landingContractOf } from './contracts.ts';
import { messageOf } from './errors.ts';
import { NotedFields } from './notedFields.ts';
import { isLandingTable, LANDING_TABLES } from './steps.ts';
import type { LandingTable } from './steps.ts';

const HEAD_BYTES = 64 * 1024;
// The lookbehind stops it from retrying inside a sequence of these: the first bytes may be nothing else.
const LAYOUT_END = /(?<![\]\s,])[\]\s,]+$/;

/** The landing table of a key: its first folder. Null for keys that belong to none, and for folder markers. */
export function landingTableOf(key: string): LandingTable | null {
  const table = key.slice(0, Math.max(key.indexOf('/'), 0));
  return isLandingTable(table) && !key.endsWith('/') ? table : null;
}

/** The landing tables from that of a key on, in order; all of them if there is no key. */
export function tablesFrom(key: string | null): readonly LandingTable[] {
  const table = key === null ? null : landingTableOf(key);
  return table === null ? LANDING_TABLES : LANDING_TABLES.slice(LANDING_TABLES.indexOf(table));
}

/** Keys that are left alone wherever they come from: hidden files, and files that another program is still writing. */
export function isIgnoredKey(key: string): boolean {
  return key.split('/').some(isIgnoredName);
}

export function isIgnoredName(name: string): boolean {
  return name.startsWith('.') || name.endsWith('.part') || name.endsWith('.tmp');
}

/** What the first bytes of a file are, and which fields of its first record the contract does not know (schema drift). */
export function sniff(table: LandingTable, head: Uint8Array): { format: FileFormat; unknownFields: string[] } {
  if (head.length === 0) return { format: 'empty', unknownFields: [] };
  if (head[0] === 0x1f && head[1] === 0x8b) return { format: 'gzip', unknownFields: [] };
  const fields = fieldsOfFirstRecord(new TextDecoder().decode(head));
  if (fields === null) return { format: 'unknown', unknownFields: [] };
  const known = new Set(landingContractOf(table).columns.flatMap((column) => column.spellings.map((name) => name.toLowerCase())));
  return { format: 'json', unknownFields: new NotedFields(fields.filter((name) => !known.has(name.toLowerCase()))).list() };
}

function fieldsOfFirstRecord(text: string): string[] | null {
  // The decoder has removed a byte order mark; commas, blanks and an array's bracket are layout (docs/records.md).
  const [line = ''] = text.replace(/^[[\s,]+/, '').split('\n', 1);
  const record = line.replace(LAYOUT_END, '');
  try {
    const value: unknown = JSON.parse(record);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.keys(value) : null;
  } catch {
    return record.startsWith('{') ? [] : null;
  }
}

/** A column name for a field that the contract does not know. */
function columnName(field: string): string {
  return field.toLowerCase().replace(/[^a-z0-9_]/g, '_');
}

export type CatalogPorts = Pick<Ports, 'landingTables' | 'ledger' | 'log'> & { landing: Pick<Landing, 'head'> };

/**
 * Catalogs file versions: looks at their first bytes, makes sure that their landing tables exist and know their columns, once per table, and
 * records them in the ledger. Repeating it changes nothing. Each fails alone, except through a landing table that several share; returns what
 * became of each.
 */
export async function catalogFiles(ports: CatalogPorts, files: readonly FileVersion[]): Promise<PromiseSettledResult<void>[]> {
  const looked = await Promise.allSettled(files.map((file) => look(ports, file)));
  const entries = looked.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  const tables = Map.groupBy(entries, ({ table }) => table);
  const ensured = new Map(
    [...tables].map(([table, those]) => [
      table,
      ensureColumns(
        ports,
        table,
        those.flatMap(({ unknownFields }) => unknownFields),
      ),
    ]),
  );
  const outcomes = await Promise.allSettled(
    looked.map(async (outcome) => {
      if (outcome.status === 'rejected') throw outcome.reason;
      await ensured.get(outcome.value.table);
      await register(ports, outcome.value);
    }),
  );
  for (const [at, { key }] of files.entries()) {
    const outcome = outcomes[at];
    if (outcome?.status === 'rejected') ports.log('catalog_failed', { key, error: messageOf(outcome.reason) });
  }
  return outcomes;
}

async function look(ports: CatalogPorts, file: FileVersion): Promise<NewFile> {
  const { table, key, version, size } = file;
  return { table, key, version, size, ...sniff(table, await ports.landing.head(key, HEAD_BYTES, version)) };
}

/** Makes sure that a landing table exists and has a column for each of these fields, which its contract does not know. */
export async function ensureColumns(
  ports: Pick<Ports, 'landingTables'>,
  table: LandingTable,
  fields: readonly string[],
): Promise<void> {
  await ports.landingTables.ensure(table, [...new Set(fields.map(columnName))]);
}

async function register(ports: CatalogPorts, file: NewFile): Promise<void> {
  const { table, key, version, format, unknownFields } = file;
  const added = await ports.ledger.register([file]);
  ports.log(added > 0 ? 'file_registered' : 'file_known', { key, version, format });
  if (added > 0 && unknownFields.length > 0) ports.log('schema_drift', { key, table, fields: unknownFields });
}
