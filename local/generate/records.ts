import type { Crowd } from './crowd.ts';
import { NO_CONSENT } from './crowd.ts';
import { personAt } from './people.ts';
import type { Person } from './people.ts';
import { STEPS } from './quotas.ts';
import { at, Random } from './random.ts';

/** One record: the names of its fields with the JSON text of their values, in the order in which they are written. */
export type Members = readonly (readonly [name: string, json: string])[];

export interface Customer extends Person {
  registrationDate: number;
  lastUpdateDate: number;
  /** Undefined if the person does not share; the key is then absent. */
  shareWithResearchAsOfDate: number | undefined;
  shareWithPublicAsOfDate: number | undefined;
  shareWithFriendsAsOfDate: number | undefined;
}

/** Takes the lines of a table. */
export interface Lines {
  line(text: string): void;
}

/** A crowd with everything that its records say. */
export class CrowdRecords {
  readonly crowd: Crowd;
  readonly customers: Customer[] = [];
  readonly #distances: Uint16Array;
  // The motions of a slot are the first one and those that follow it in this stride: all different.
  readonly #firstMotion: Uint8Array;
  readonly #motionStride: Uint8Array;

  /** @param firstIndex place of the crowd's first person in the list of all people */
  constructor(crowd: Crowd, seed: number, firstIndex: number, random: Random) {
    this.crowd = crowd;
    for (let person = 0; person < crowd.people; person += 1) {
      this.customers.push(customerOf(crowd, person, personAt(seed, firstIndex + person), random));
    }
    this.#distances = new Uint16Array(crowd.times.length).map(() => random.between(201, 300));
    this.#firstMotion = new Uint8Array(crowd.times.length).map(() => random.below(MOTIONS.length));
    this.#motionStride = new Uint8Array(crowd.times.length).map(() => at(MOTION_STRIDES, random.below(MOTION_STRIDES.length)));
  }

  /** Writes all records, person by person, the newest reading first as the devices do. */
  write(tables: { customers: Lines; motions: Lines; steps: Lines }): void {
    for (const [person, customer] of this.customers.entries()) {
      tables.customers.line(customerLine(customerMembers(customer)));
      this.#writeReadings(person, customer, tables);
    }
  }

  /** The fields of a step trainer reading. @param step 0 to STEPS − 1 */
  step(person: number, step: number): Members {
    const slot = person * STEPS + step;
    return stepMembers(at(this.crowd.times, slot), at(this.customers, person).serialNumber, at(this.#distances, slot));
  }

  /** The fields of the first accelerometer reading at the time of a step trainer reading. */
  motion(person: number, step: number): Members {
    const slot = person * STEPS + step;
    return motionMembers(at(this.customers, person).email, at(this.crowd.times, slot), this.#motionAt(slot, 0));
  }

  #motionAt(slot: number, number: number): number {
    return (at(this.#firstMotion, slot) + number * at(this.#motionStride, slot)) % MOTIONS.length;
  }

  // Nearly all bytes are written here, so lines are put together from ready parts.
  #writeReadings(person: number, customer: Customer, tables: { motions: Lines; steps: Lines }): void {
    const stepMiddle = `,"serialNumber":"${customer.serialNumber}","distanceFromObject":`;
    const motionStart = `{"user":"${customer.email}","timestamp":`;
    const times: string[] = [];
    let rounds = 0;
    for (let step = STEPS - 1; step >= 0; step -= 1) {
      const slot = person * STEPS + step;
      const time = String(at(this.crowd.times, slot));
      times.push(time);
      tables.steps.line(`{"sensorReadingTime":${time}${stepMiddle}${String(at(this.#distances, slot))}}\n`);
      rounds = Math.max(rounds, at(this.crowd.motions, slot));
    }
    // The phone sends a time's motions in different uploads, so rows of one time are not adjacent.
    for (let round = 0; round < rounds; round += 1) {
      for (let step = STEPS - 1; step >= 0; step -= 1) {
        const slot = person * STEPS + step;
        if (at(this.crowd.motions, slot) <= round) continue;
        tables.motions.line(motionStart + at(times, STEPS - 1 - step) + at(MOTION_ENDS, this.#motionAt(slot, round)));
      }
    }
  }
}

// Customers

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
/** Few people change their record after registering. */
const UPDATED = 44 / 956;

function customerOf(crowd: Crowd, person: number, who: Person, random: Random): Customer {
  const first = at(crowd.times, person * STEPS);
  const dated = at(crowd.datedSteps, person);
  const consent = dated === NO_CONSENT ? undefined : consentDate(crowd, person, dated, random);
  const lastUpdateDate = consent ?? first + random.between(-15 * SECOND, MINUTE);
  const registrationDate = random.chance(UPDATED) ? lastUpdateDate - random.between(1, 68 * SECOND) : lastUpdateDate;
  const sharing = at(crowd.otherSharing, person);
  return {
    ...who,
    registrationDate,
    lastUpdateDate,
    shareWithResearchAsOfDate: consent,
    shareWithPublicAsOfDate: sharing <= 1 ? lastUpdateDate : undefined,
    shareWithFriendsAsOfDate: sharing === 0 || sharing === 2 ? lastUpdateDate : undefined,
  };
}

/** An instant with exactly this many of the person's readings at or after it; some people consent at the instant of a reading. */
function consentDate(crowd: Crowd, person: number, dated: number, random: Random): number {
  const time = (step: number): number => at(crowd.times, person * STEPS + step);
  if (dated === 0) return time(STEPS - 1) + random.between(1, MINUTE);
  const firstDated = time(STEPS - dated);
  if (random.chance(1 / 16)) return firstDated;
  const earliest = dated === STEPS ? firstDated - 15 * SECOND : time(STEPS - dated - 1) + 1;
  return random.between(earliest, firstDated);
}

/** The fields of a customer record, in the order of the reference data. */
export function customerMembers(customer: Customer): Members {
  const members: [string, string][] = [
    ['customerName', JSON.stringify(customer.customerName)],
    ['email', JSON.stringify(customer.email)],
    ['phone', JSON.stringify(customer.phone)],
    ['birthDay', JSON.stringify(customer.birthDay)],
    ['serialNumber', JSON.stringify(customer.serialNumber)],
    ['registrationDate', String(customer.registrationDate)],
    ['lastUpdateDate', String(customer.lastUpdateDate)],
  ];
  const { shareWithResearchAsOfDate, shareWithPublicAsOfDate, shareWithFriendsAsOfDate } = customer;
  for (const [name, date] of Object.entries({ shareWithResearchAsOfDate, shareWithPublicAsOfDate, shareWithFriendsAsOfDate })) {
    if (date !== undefined) members.push([name, String(date)]);
  }
  return members;
}

/** Customer records are written with blanks after commas and colons, readings without: as in the reference data. */
export function customerText(members: Members): string {
  return `{${members.map(([name, json]) => `"${name}": ${json}`).join(', ')}}`;
}

export function readingText(members: Members): string {
  return `{${members.map(([name, json]) => `"${name}":${json}`).join(',')}}`;
}

function customerLine(members: Members): string {
  return `${customerText(members)}\n`;
}

// Readings

/** Every motion there is: x and y are -1, 0 or 1, z is -1 or 0. */
const MOTIONS = ['-1.0', '0.0', '1.0'].flatMap((x) =>
  ['-1.0', '0.0', '1.0'].flatMap((y) => ['-1.0', '0.0'].map((z) => ({ x, y, z }))),
);
/** Numbers coprime to the number of motions. */
const MOTION_STRIDES = [1, 5, 7, 11, 13, 17];
const MOTION_ENDS = MOTIONS.map(({ x, y, z }) => `,"x":${x},"y":${y},"z":${z}}\n`);

/** The fields of an accelerometer reading. @param motion any integer from 0 on stands for one of the motions */
export function motionMembers(user: string, time: number, motion: number): Members {
  const { x, y, z } = at(MOTIONS, motion % MOTIONS.length);
  return [
    ['user', JSON.stringify(user)],
    ['timestamp', String(time)],
    ['x', x],
    ['y', y],
    ['z', z],
  ];
}

/** The fields of a step trainer reading. */
export function stepMembers(time: number, serialNumber: string, distance: number): Members {
  return [
    ['sensorReadingTime', String(time)],
    ['serialNumber', JSON.stringify(serialNumber)],
    ['distanceFromObject', String(distance)],
  ];
}
