// Reads the staging cases of this folder (README.md describes the format) into landed files and expected tables.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { parse } from 'yaml';
import { z } from 'zod';
import type { LandedFile, Tables } from '../reference/index.ts';

// The shape of a case

const column = {
  text: z.string(),
  bigint: z.bigint(),
  double: z.union([z.number(), z.bigint()]).transform(Number),
  day: z.iso.date(),
};
const textOrNull = column.text.nullable().default(null);
const bigintOrNull = column.bigint.nullable().default(null);

const customer = z.strictObject({
  customername: textOrNull,
  email: column.text,
  phone: textOrNull,
  birthday: textOrNull,
  serialnumber: textOrNull,
  registrationdate: bigintOrNull,
  lastupdatedate: bigintOrNull,
  sharewithresearchasofdate: bigintOrNull,
  sharewithpublicasofdate: bigintOrNull,
  sharewithfriendsasofdate: bigintOrNull,
});

const motion = z.strictObject({
  user: column.text,
  timestamp: column.bigint,
  x: column.double,
  y: column.double,
  z: column.double,
  reading_date: column.day,
});

const step = z.strictObject({
  sensorreadingtime: column.bigint,
  serialnumber: column.text,
  distancefromobject: column.bigint,
  reading_date: column.day,
});

const piece = z.union([
  z.strictObject({ text: z.string() }),
  z.strictObject({ hex: z.string().regex(/^([0-9a-f]{2}\s*)*$/) }),
  z.strictObject({ gzip: z.string(), cut: z.bigint().transform(Number).optional() }),
  z.strictObject({ repeat: z.string(), times: z.bigint().transform(Number) }),
]);

const file = z
  .strictObject({
    table: z.enum(['customer_landing', 'accelerometer_landing', 'step_trainer_landing']),
    key: z.string().optional(),
    version: z.string().default('v1'),
    run: z.bigint().transform(Number).default(1),
    text: z.string().optional(),
    bytes: z.array(piece).optional(),
  })
  .refine(({ text, bytes }) => (text === undefined) !== (bytes === undefined), 'a file has either text or bytes');

const load = z.strictObject({
  file: z.string().optional(),
  version: z.string().default('v1'),
  landed: column.bigint,
  staged: column.bigint,
  duplicate: column.bigint,
  rejected: column.bigint,
});

const rejected = z.strictObject({
  file: z.string().optional(),
  version: z.string().default('v1'),
  line: column.bigint,
  position: column.bigint,
  reason: z.enum([
    'broken_gzip',
    'line_too_long',
    'not_utf8',
    'broken_json',
    'not_an_object',
    'duplicate_field',
    'missing_field',
    'not_text',
    'bad_unicode',
    'not_an_integer',
    'time_out_of_range',
    'negative_consent',
    'not_a_number',
  ]),
  field: z.string().nullable().default(null),
  encoding: z.enum(['utf-8', 'base64']).default('utf-8'),
  record: z.string(),
});

const theme = z.array(
  z.strictObject({
    name: z.string(),
    files: z.array(file).min(1),
    expect: z.strictObject({
      loads: z.array(load),
      rejected: z.array(rejected).default([]),
      staged: z
        .strictObject({
          customer_staging: z.array(customer).default([]),
          accelerometer_staging: z.array(motion).default([]),
          step_trainer_staging: z.array(step).default([]),
        })
        .prefault({}),
    }),
  }),
);

// The typed case

type ExpectedTables = Pick<Tables, 'customer_staging' | 'accelerometer_staging' | 'step_trainer_staging' | 'loads' | 'rejected'>;

type Place = Pick<Tables['loads'][number], 'landing_table' | 'file' | 'version' | 'run_id'>;

export interface StagingCase {
  /** Name of its file, without .yaml. */
  theme: string;
  name: string;
  /** The files of each run, in the order of the runs: most cases have one. */
  runs: { runId: string; files: LandedFile[] }[];
  expect: ExpectedTables;
}

export function loadCases(folder = import.meta.dirname): StagingCase[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.yaml'))
    .sort()
    .flatMap((name) => loadTheme(folder, name.slice(0, -'.yaml'.length)));
}

function loadTheme(folder: string, name: string): StagingCase[] {
  const written: unknown = parse(readFileSync(join(folder, `${name}.yaml`), 'utf8'), { intAsBigInt: true });
  const cases = theme.safeParse(written);
  if (!cases.success) throw new Error(`${name}.yaml:\n${z.prettifyError(cases.error)}`);
  return cases.data.map((one) => asCase(name, one));
}

function asCase(themeName: string, written: z.infer<typeof theme>[number]): StagingCase {
  const landings = written.files.map((one) => ({ run: one.run, landed: landedFile(one) }));
  const runs = [...new Set(landings.map(({ run }) => run))].sort((a, b) => a - b);
  const { loads, rejected: refused, staged } = written.expect;
  return {
    theme: themeName,
    name: written.name,
    runs: runs.map((run) => ({
      runId: runIdOf(run),
      files: landings.filter((landing) => landing.run === run).map(({ landed }) => landed),
    })),
    expect: {
      ...staged,
      loads: loads.map(({ file: key, version, ...counts }) => ({ ...placeOf(written.name, landings, key, version), ...counts })),
      rejected: refused.map(({ file: key, version, ...record }) => ({
        ...placeOf(written.name, landings, key, version),
        ...record,
      })),
    },
  };
}

function runIdOf(run: number): string {
  return `run-${run}`;
}

function landedFile({ table, key, version, text, bytes }: z.infer<typeof file>): LandedFile {
  return {
    table,
    key: key ?? `${table}/file.json`,
    version,
    bytes: text === undefined ? Buffer.concat((bytes ?? []).map(bytesOf)) : Buffer.from(text),
  };
}

function bytesOf(one: z.infer<typeof piece>): Buffer {
  if ('text' in one) return Buffer.from(one.text);
  if ('hex' in one) return Buffer.from(one.hex.replace(/\s/g, ''), 'hex');
  if ('repeat' in one) return Buffer.from(one.repeat.repeat(one.times));
  const packed = gzipSync(one.gzip);
  return packed.subarray(0, packed.length - (one.cut ?? 0));
}

/** An expected row belongs to the first run that is given its file version; the key may be left out if there is one file. */
function placeOf(name: string, landings: { run: number; landed: LandedFile }[], key: string | undefined, version: string): Place {
  const meant = landings.filter(({ landed }) => (key === undefined || landed.key === key) && landed.version === version);
  const [first] = meant.sort((a, b) => a.run - b.run);
  if (first === undefined) throw new Error(`${name}: there is no file ${key ?? ''} ${version}`);
  if (meant.some(({ landed }) => landed.key !== first.landed.key)) throw new Error(`${name}: say which file is meant`);
  const { table, key: file } = first.landed;
  return { landing_table: table, file, version, run_id: runIdOf(first.run) };
}
