// The rows of every table, and the one way to compare tables whose row order means nothing.

export type LandingTable = 'customer_landing' | 'accelerometer_landing' | 'step_trainer_landing';

export type Customer = {
  customername: string | null;
  email: string;
  phone: string | null;
  birthday: string | null;
  serialnumber: string | null;
  registrationdate: bigint | null;
  lastupdatedate: bigint | null;
  sharewithresearchasofdate: bigint | null;
  sharewithpublicasofdate: bigint | null;
  sharewithfriendsasofdate: bigint | null;
};

export type Motion = {
  user: string;
  timestamp: bigint;
  x: number;
  y: number;
  z: number;
  reading_date: string;
};

export type Step = {
  sensorreadingtime: bigint;
  serialnumber: string;
  distancefromobject: bigint;
  reading_date: string;
};

export type TrustedStep = {
  sensorreadingtime: bigint;
  serialnumber: string;
  distancefromobject: bigint;
  email: string;
  reading_date: string;
};

export type Pair = {
  serialnumber: string;
  sensorreadingtime: bigint;
  reading_date: string;
  distancefromobject: bigint;
  x: number;
  y: number;
  z: number;
};

export type Load = {
  landing_table: LandingTable;
  file: string;
  version: string;
  landed: bigint;
  staged: bigint;
  duplicate: bigint;
  rejected: bigint;
  run_id: string;
};

export type Rejected = {
  landing_table: LandingTable;
  file: string;
  version: string;
  line: bigint;
  position: bigint;
  reason: string;
  field: string | null;
  encoding: string;
  record: string;
  run_id: string;
};

export type Tables = {
  customer_staging: Customer[];
  accelerometer_staging: Motion[];
  step_trainer_staging: Step[];
  customer_trusted: Customer[];
  accelerometer_trusted: Motion[];
  customers_curated: Customer[];
  step_trainer_trusted: TrustedStep[];
  machine_learning_curated: Pair[];
  loads: Load[];
  rejected: Rejected[];
};

export type Value = string | number | bigint | null;
export type Row = Readonly<Record<string, Value>>;

/** A table as a multiset: each row as JSON with its keys in order and BIGINT as digits, the rows sorted. −0 is not 0 here. */
export function sorted(rows: readonly Row[]): string[] {
  return rows.map(rowText).sort();
}

function rowText(row: Row): string {
  const members = Object.entries(row).map(([name, value]) => `${JSON.stringify(name)}:${valueText(value)}`);
  return `{${members.sort().join(',')}}`;
}

function valueText(value: Value): string {
  if (typeof value === 'string') return JSON.stringify(value);
  return Object.is(value, -0) ? '-0' : String(value);
}
