// A lake that does what the design says in the plainest way: runs read files, staged rows are lists, every other table is
// derived from them on request.
import { judgeCustomer, judgeMotion, judgeStep, type Verdict } from './judge.ts';
import type { Member } from './json.ts';
import { LONGEST_REJECT, read, type FoundBroken, type FoundObject } from './read.ts';
import type { Customer, LandingTable, Load, Motion, Pair, Rejected, Row, Step, Tables, TrustedStep } from './tables.ts';

export interface LandedFile {
  table: LandingTable;
  key: string;
  version: string;
  bytes: Uint8Array;
}

export interface Policy {
  mlJoin: 'person-and-time' | 'time';
  consentFrom: 'any-time' | 'consent-date';
}

export interface Withheld {
  accelerometer: Record<string, number>;
  step_trainer: Record<string, number>;
}

export interface Identity {
  sameTime: number;
  samePerson: number;
  otherPerson: number;
}

export class ReferenceLake {
  #policy: Policy;
  readonly #customers = new Staging(judgeCustomer);
  readonly #motions = new Staging(judgeMotion);
  readonly #steps = new Staging(judgeStep);
  readonly #fileVersions = new Set<string>();
  readonly #loads: Load[] = [];
  readonly #rejected: Rejected[] = [];

  constructor(policy: Policy) {
    this.#policy = policy;
  }

  /** Loads the file versions that are not in the lake yet, in the order that decides which of equal records is staged. */
  run(files: LandedFile[], runId: string, policy?: Policy): void {
    if (policy !== undefined) this.#policy = policy;
    for (const file of files.toSorted(compareFiles)) {
      const fileVersion = JSON.stringify([file.table, file.key, file.version]);
      if (this.#fileVersions.has(fileVersion)) continue;
      this.#fileVersions.add(fileVersion);
      this.#load(file, runId);
    }
  }

  tables(): Tables {
    const people = this.#people();
    const accelerometerTrusted = this.#motions.rows.filter((motion) => whyMotionIsWithheld(motion, people) === null);
    const moved = new Set(accelerometerTrusted.map((motion) => motion.user));
    const stepTrainerTrusted = this.#steps.rows
      .filter((step) => whyStepIsWithheld(step, people, moved) === null)
      .map((step) => withHolder(step, people));
    const customerTrusted = [...people.current.values()].filter(sharesForResearch);
    return {
      customer_staging: [...this.#customers.rows],
      accelerometer_staging: [...this.#motions.rows],
      step_trainer_staging: [...this.#steps.rows],
      customer_trusted: customerTrusted,
      accelerometer_trusted: accelerometerTrusted,
      customers_curated: customerTrusted.filter((customer) => moved.has(customer.email)),
      step_trainer_trusted: stepTrainerTrusted,
      machine_learning_curated: pairs(stepTrainerTrusted, accelerometerTrusted, this.#policy.mlJoin),
      loads: [...this.#loads],
      rejected: [...this.#rejected],
    };
  }

  /** How many pairs of a step and a motion have the same time, and whose they are; counted without building a pair. */
  identity(): Identity {
    const { step_trainer_trusted: steps, accelerometer_trusted: motions } = this.tables();
    const sameTime = pairCount(
      counts(steps, (step) => String(step.sensorreadingtime)),
      counts(motions, (motion) => String(motion.timestamp)),
    );
    const samePerson = pairCount(
      counts(steps, (step) => `${step.sensorreadingtime} ${step.email}`),
      counts(motions, (motion) => `${motion.timestamp} ${motion.user}`),
    );
    return { sameTime, samePerson, otherPerson: sameTime - samePerson };
  }

  withheld(): Withheld {
    const people = this.#people();
    const whyMotion = this.#motions.rows.map((motion) => whyMotionIsWithheld(motion, people));
    const moved = new Set(this.#motions.rows.filter((_, index) => whyMotion[index] === null).map((motion) => motion.user));
    const whyStep = this.#steps.rows.map((step) => whyStepIsWithheld(step, people, moved));
    return { accelerometer: reasonCounts(whyMotion), step_trainer: reasonCounts(whyStep) };
  }

  #people(): People {
    const current = currentCustomers(this.#customers.rows);
    const holders = Map.groupBy(current.values(), (customer) => customer.serialnumber);
    return { current, holders, consentFrom: this.#policy.consentFrom };
  }

  #load(file: LandedFile, runId: string): void {
    const found = read(file.bytes);
    let staged = 0n;
    let duplicate = 0n;
    let rejected = 0n;
    for (const record of found) {
      const taken = record.kind === 'object' ? this.#stagingOf(file.table).take(record.members) : wholeRecord(record);
      if (taken === 'staged') staged += 1n;
      else if (taken === 'duplicate') duplicate += 1n;
      else {
        rejected += 1n;
        this.#rejected.push(rejectedRow(file, record, taken, runId));
      }
    }
    const landed = BigInt(found.length);
    this.#loads.push({ ...nameOf(file), landed, staged, duplicate, rejected, run_id: runId });
  }

  #stagingOf(table: LandingTable): { take(members: Member[]): Taken } {
    switch (table) {
      case 'customer_landing':
        return this.#customers;
      case 'accelerometer_landing':
        return this.#motions;
      case 'step_trainer_landing':
        return this.#steps;
    }
  }
}

// Staging

type Taken = 'staged' | 'duplicate' | Refusal;

interface Refusal {
  reason: string;
  field: string | null;
}

/** The valid records of one kind, each once. All columns are identity; the reading date follows from the time. */
class Staging<StagedRow extends Row> {
  readonly rows: StagedRow[] = [];
  readonly #known = new Set<string>();
  readonly #judge: (members: Member[]) => Verdict<StagedRow>;

  constructor(judge: (members: Member[]) => Verdict<StagedRow>) {
    this.#judge = judge;
  }

  take(members: Member[]): Taken {
    const verdict = this.#judge(members);
    if ('reason' in verdict) return verdict;
    const identity = identityOf(verdict.row);
    if (this.#known.has(identity)) return 'duplicate';
    this.#known.add(identity);
    this.rows.push(verdict.row);
    return 'staged';
  }
}

function identityOf(row: Row): string {
  return JSON.stringify(Object.values(row).map((value) => (typeof value === 'bigint' ? String(value) : value)));
}

function wholeRecord(record: FoundBroken): Refusal {
  return { reason: record.reason, field: null };
}

function rejectedRow(file: LandedFile, record: FoundObject | FoundBroken, refusal: Refusal, runId: string): Rejected {
  return {
    ...nameOf(file),
    line: BigInt(record.line),
    position: BigInt(record.position),
    reason: refusal.reason,
    field: refusal.field,
    encoding: record.kind === 'broken' ? record.encoding : 'utf-8',
    record: Buffer.byteLength(record.text) > LONGEST_REJECT ? '' : record.text,
    run_id: runId,
  };
}

function nameOf(file: LandedFile): Pick<Load, 'landing_table' | 'file' | 'version'> {
  return { landing_table: file.table, file: file.key, version: file.version };
}

function compareFiles(a: LandedFile, b: LandedFile): number {
  return compareText(a.table, b.table) || compareText(a.key, b.key) || compareText(a.version, b.version);
}

// People

interface People {
  current: Map<string, Customer>;
  /** By serial number; null: those without a device. */
  holders: Map<string | null, Customer[]>;
  consentFrom: Policy['consentFrom'];
}

function currentCustomers(customers: Customer[]): Map<string, Customer> {
  const current = new Map<string, Customer>();
  for (const customer of customers) {
    const other = current.get(customer.email);
    if (other === undefined || decidesOver(customer, other) < 0) current.set(customer.email, customer);
  }
  return current;
}

/** Below 0 if `a` is the one of a person's two records that decides. */
function decidesOver(a: Customer, b: Customer): number {
  return (
    compareNumber(b.lastupdatedate, a.lastupdatedate) ||
    compareNumber(a.sharewithresearchasofdate, b.sharewithresearchasofdate) ||
    compareNumber(a.sharewithpublicasofdate, b.sharewithpublicasofdate) ||
    compareNumber(a.sharewithfriendsasofdate, b.sharewithfriendsasofdate) ||
    compareNumber(a.registrationdate, b.registrationdate) ||
    compareText(a.serialnumber, b.serialnumber) ||
    compareText(a.customername, b.customername) ||
    compareText(a.phone, b.phone) ||
    compareText(a.birthday, b.birthday)
  );
}

/** Null is lowest. */
function compareNumber(a: bigint | null, b: bigint | null): number {
  if (a === null || b === null) return Number(a !== null) - Number(b !== null);
  return a < b ? -1 : Number(a > b);
}

/** Null is lowest; else by the bytes of UTF-8, as both engines compare text. */
function compareText(a: string | null, b: string | null): number {
  if (a === null || b === null) return Number(a !== null) - Number(b !== null);
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function sharesForResearch(customer: Customer): boolean {
  return customer.sharewithresearchasofdate !== null;
}

// Readings

function whyMotionIsWithheld(motion: Motion, people: People): string | null {
  const person = people.current.get(motion.user);
  if (person === undefined) return 'unknown_customer';
  return whyPersonWithholds(person, motion.timestamp, people);
}

function whyStepIsWithheld(step: Step, people: People, moved: Set<string>): string | null {
  const holders = people.holders.get(step.serialnumber) ?? [];
  const [holder] = holders;
  if (holder === undefined) return 'unknown_device';
  if (holders.length > 1) return 'ambiguous_device';
  return whyPersonWithholds(holder, step.sensorreadingtime, people) ?? (moved.has(holder.email) ? null : 'no_motion');
}

function whyPersonWithholds(person: Customer, time: bigint, people: People): string | null {
  const consent = person.sharewithresearchasofdate;
  if (consent === null) return 'no_consent';
  return people.consentFrom === 'consent-date' && time < consent ? 'before_consent' : null;
}

function withHolder(step: Step, people: People): TrustedStep {
  const [holder] = people.holders.get(step.serialnumber) ?? [];
  if (holder === undefined) throw new Error(`no holder of ${step.serialnumber}`);
  const { sensorreadingtime, serialnumber, distancefromobject, reading_date } = step;
  return { sensorreadingtime, serialnumber, distancefromobject, email: holder.email, reading_date };
}

function pairs(steps: TrustedStep[], motions: Motion[], join: Policy['mlJoin']): Pair[] {
  const keyOf = (time: bigint, person: string) => (join === 'time' ? String(time) : `${time} ${person}`);
  const motionsOf = Map.groupBy(motions, (motion) => keyOf(motion.timestamp, motion.user));
  return steps.flatMap((step) =>
    (motionsOf.get(keyOf(step.sensorreadingtime, step.email)) ?? []).map((motion) => pair(step, motion)),
  );
}

function pair(step: TrustedStep, motion: Motion): Pair {
  const { serialnumber, sensorreadingtime, reading_date, distancefromobject } = step;
  return { serialnumber, sensorreadingtime, reading_date, distancefromobject, x: motion.x, y: motion.y, z: motion.z };
}

// Counting

function counts<Item>(items: Item[], keyOf: (item: Item) => string): Map<string, number> {
  const byKey = new Map<string, number>();
  for (const item of items) byKey.set(keyOf(item), (byKey.get(keyOf(item)) ?? 0) + 1);
  return byKey;
}

function pairCount(left: Map<string, number>, right: Map<string, number>): number {
  let count = 0;
  for (const [key, number] of left) count += number * (right.get(key) ?? 0);
  return count;
}

function reasonCounts(reasons: (string | null)[]): Record<string, number> {
  const withheld = reasons.filter((reason) => reason !== null);
  return Object.fromEntries(counts(withheld, (reason) => reason));
}
