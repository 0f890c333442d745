import { quotasOf, STEPS } from './quotas.ts';
import type { Meeting, Quotas } from './quotas.ts';
import { at, Random } from './random.ts';

/**
 * A crowd is about a thousand people who walked in the same three quarters of an hour. It is planned as a whole, in memory,
 * because quotas and meetings concern many people at once; larger data are a series of crowds, so memory stays flat.
 *
 * A slot is one reading time of one person: slot `person * STEPS + n` is the person's reading n, n growing with time.
 */
export interface Crowd {
  people: number;
  /** For each person: how many of the last readings were made at or after the consent; `NO_CONSENT` without consent. */
  datedSteps: Int8Array;
  /** For each person: 0 shares with the public and friends, 1 the public, 2 friends, 3 nobody else. */
  otherSharing: Uint8Array;
  /** For each slot: milliseconds since 1970-01-01 UTC. */
  times: Float64Array;
  /** For each slot: how many motions there are at that time. */
  motions: Uint8Array;
}

export const NO_CONSENT = -1;

/** When a crowd walked. Windows of different crowds never overlap, so that people meet within their crowd only. */
export interface Window {
  start: number;
  width: number;
}

/** Time between two readings of a person, as in the reference data. */
const SHORTEST_GAP = 2_034;
const LONGEST_GAP = 3_993;
/** How far a reading moves back to meet another person's: less than half a gap, so that a person's readings stay in order. */
const MEETING_RANGE = 1_000;
/** The reference crowd began to walk within 41 minutes. */
const STARTS_PER_PERSON = 2_460_000 / 956;

/** The narrowest window that a crowd of nearly twice the reference size fits into without crowding out free milliseconds. */
export const NARROWEST_WINDOW = 2 * STEPS * LONGEST_GAP;

/** Plans a crowd that meets its quotas. */
export function planCrowd(people: number, window: Window, random: Random): Crowd {
  const quotas = quotasOf(people);
  const datedSteps = planConsent(people, quotas, random);
  const nominal = planTimes(people, window.width, random);
  const { meetingOf, meetings } = planMeetings(quotas.meetings, nominal, datedSteps, random);
  const times = settleTimes(nominal, meetingOf, meetings, window);
  const motions = planMotions(quotas, datedSteps, random);
  settlePairs(motions, meetingOf, datedSteps, quotas.otherPersonPairs, people, random);
  return { people, datedSteps, otherSharing: planOtherSharing(quotas, datedSteps, random), times, motions };
}

// Consent

/** In the reference data, people with only some readings dated have this many dated ones. */
const FEWEST_DATED = 17;
const MOST_DATED = STEPS - 1;

function planConsent(people: number, quotas: Quotas, random: Random): Int8Array {
  const datedSteps = new Int8Array(people).fill(NO_CONSENT);
  datedSteps.fill(0, 0, quotas.consenting);
  datedSteps.fill(STEPS, 0, quotas.datedFully);
  for (let person = quotas.datedFully; person < quotas.dated; person += 1) {
    datedSteps[person] = random.between(FEWEST_DATED, MOST_DATED);
  }
  const inPart = datedSteps.subarray(quotas.datedFully, quotas.dated);
  const missing = settleSum(inPart, quotas.datedSteps - STEPS * quotas.datedFully, MOST_DATED, random);
  // With a handful of people that may be impossible: then everybody's number may change.
  if (missing !== 0) settleSum(datedSteps.subarray(0, quotas.dated), quotas.datedSteps, STEPS, random);
  random.shuffle(datedSteps);
  return datedSteps;
}

/** Nudges numbers at random, between 1 and `most`, until they add up to the total; returns what is still missing. */
function settleSum(numbers: Int8Array, total: number, most: number, random: Random): number {
  const reachable = Math.max(numbers.length, Math.min(total, numbers.length * most));
  let missing = reachable - numbers.reduce((sum, number) => sum + number, 0);
  while (missing !== 0) {
    const index = random.below(numbers.length);
    const nudged = at(numbers, index) + Math.sign(missing);
    if (nudged < 1 || nudged > most) continue;
    numbers[index] = nudged;
    missing -= Math.sign(missing);
  }
  return total - reachable;
}

function planOtherSharing(quotas: Quotas, datedSteps: Int8Array, random: Random): Uint8Array {
  const consenting = dealt(quotas.otherSharing.consenting, random);
  const others = dealt(quotas.otherSharing.others, random);
  let [nextConsenting, nextOther] = [0, 0];
  return Uint8Array.from(datedSteps, (steps) =>
    steps === NO_CONSENT ? at(others, nextOther++) : at(consenting, nextConsenting++),
  );
}

/** Each index as often as its count says, in a random order. */
function dealt(counts: readonly number[], random: Random): number[] {
  const cards = counts.flatMap((count, index) => new Array<number>(count).fill(index));
  random.shuffle(cards);
  return cards;
}

// Times

/** Where each slot would be if nobody met: a start and a constant gap for each person, milliseconds from the window's start. */
function planTimes(people: number, width: number, random: Random): Int32Array {
  const starts = Math.min(Math.ceil(people * STARTS_PER_PERSON), width - STEPS * LONGEST_GAP);
  const nominal = new Int32Array(people * STEPS);
  for (let person = 0; person < people; person += 1) {
    const start = random.below(starts);
    const gap = random.between(SHORTEST_GAP, LONGEST_GAP);
    for (let step = 0; step < STEPS; step += 1) nominal[person * STEPS + step] = start + step * gap;
  }
  return nominal;
}

interface Meetings {
  /** For each slot: the index of its meeting, −1 when it has none. */
  meetingOf: Int32Array;
  /** For each meeting: where its time would be. */
  meetings: number[];
}

/** Finds people whose readings are close to each other anyway and lets them meet, the largest meetings first. */
function planMeetings(wanted: readonly Meeting[], nominal: Int32Array, datedSteps: Int8Array, random: Random): Meetings {
  const inOrder = slotsInOrder(nominal);
  const ranks = Uint32Array.from(inOrder, (_, rank) => rank);
  random.shuffle(ranks);
  const meetingOf = new Int32Array(nominal.length).fill(-1);
  const meetings: number[] = [];
  for (const { people, consenting, count } of wanted) {
    let found = 0;
    for (let next = 0; next < ranks.length && found < count; next += 1) {
      const slots = neighbours(at(ranks, next), inOrder, nominal, meetingOf, datedSteps, consenting, people - consenting);
      if (slots === undefined) continue;
      for (const slot of slots) meetingOf[slot] = meetings.length;
      meetings.push(at(nominal, at(slots, 0)));
      found += 1;
    }
  }
  return { meetingOf, meetings };
}

/** The slot at a rank and those of other people that follow it closely, until the meeting is complete. */
function neighbours(
  rank: number,
  inOrder: Uint32Array,
  nominal: Int32Array,
  meetingOf: Int32Array,
  datedSteps: Int8Array,
  consenting: number,
  others: number,
): number[] | undefined {
  const slots: number[] = [];
  const start = at(nominal, at(inOrder, rank));
  let [consentingLeft, othersLeft] = [consenting, others];
  for (let next = rank; next < inOrder.length; next += 1) {
    const slot = at(inOrder, next);
    if (at(nominal, slot) > start + MEETING_RANGE) return undefined;
    const consents = at(datedSteps, personOf(slot)) !== NO_CONSENT;
    const wanted = (consents ? consentingLeft : othersLeft) > 0;
    const free = at(meetingOf, slot) === -1 && slots.every((other) => personOf(other) !== personOf(slot));
    if (wanted && free) {
      slots.push(slot);
      if (consents) consentingLeft -= 1;
      else othersLeft -= 1;
      if (consentingLeft + othersLeft === 0) return slots;
    } else if (next === rank) {
      return undefined;
    }
  }
  return undefined;
}

function personOf(slot: number): number {
  return Math.floor(slot / STEPS);
}

function slotsInOrder(nominal: Int32Array): Uint32Array {
  // One number holds time and slot: typed arrays sort numbers much faster than with a comparison function.
  const keys = Float64Array.from(nominal, (time, slot) => time * nominal.length + slot).sort();
  return Uint32Array.from(keys, (key) => key % nominal.length);
}

/** The final times: people who meet share one; every other slot has a millisecond of its own, the next free one. */
function settleTimes(nominal: Int32Array, meetingOf: Int32Array, meetings: readonly number[], window: Window): Float64Array {
  const taken = new Uint8Array(window.width);
  const free = (time: number): number => {
    let found = time;
    while (taken[found] === 1) found += 1;
    taken[found] = 1;
    return found;
  };
  const meetingTimes = meetings.map(free);
  return Float64Array.from(nominal, (time, slot) => {
    const meeting = at(meetingOf, slot);
    return window.start + (meeting === -1 ? free(time) : at(meetingTimes, meeting));
  });
}

// Motions

/** The three groups of readings, each with a quota of motions of its own. */
const GROUPS = ['dated', 'undated', 'untrusted'] as const;
type Group = (typeof GROUPS)[number];

function groupOf(slot: number, datedSteps: Int8Array): Group {
  const dated = at(datedSteps, personOf(slot));
  if (dated === NO_CONSENT) return 'untrusted';
  return slot % STEPS >= STEPS - dated ? 'dated' : 'undated';
}

function planMotions(quotas: Quotas, datedSteps: Int8Array, random: Random): Uint8Array {
  const next = { dated: 0, undated: 0, untrusted: 0 };
  for (const group of GROUPS) random.shuffle(quotas.motions[group]);
  const motions = new Uint8Array(datedSteps.length * STEPS);
  for (let slot = 0; slot < motions.length; slot += 1) {
    const group = groupOf(slot, datedSteps);
    motions[slot] = at(quotas.motions[group], next[group]);
    next[group] += 1;
  }
  return motions;
}

/**
 * Brings the pairs of one consenting person's step with another's motion to the wanted number: a slot at a meeting swaps numbers with
 * a slot of the same group that nobody else shares, changing the pairs but no quota.
 */
function settlePairs(
  motions: Uint8Array,
  meetingOf: Int32Array,
  datedSteps: Int8Array,
  wanted: number,
  people: number,
  random: Random,
): void {
  const company = companyOf(meetingOf, datedSteps);
  const shared: number[] = [];
  const alone = { dated: new Shelf(), undated: new Shelf(), untrusted: new Shelf() };
  let missing = wanted;
  for (const slot of shuffledSlots(motions.length, random)) {
    const others = at(company, slot);
    missing -= others * at(motions, slot);
    if (others > 0) shared.push(slot);
    else alone[groupOf(slot, datedSteps)].put(slot, at(motions, slot));
  }
  // Those with most company first: they move in coarser steps, and the others can make up the rest.
  shared.sort((a, b) => at(company, b) - at(company, a));
  for (let changed = true; changed && missing !== 0;) {
    changed = false;
    for (const slot of shared) {
      const others = at(company, slot);
      const shelf = alone[groupOf(slot, datedSteps)];
      const now = at(motions, slot);
      const better = now + Math.sign(missing);
      const partner = Math.abs(missing) < others ? undefined : shelf.take(better);
      if (partner === undefined) continue;
      motions[slot] = better;
      motions[partner] = now;
      shelf.put(partner, now);
      missing -= others * Math.sign(missing);
      changed = true;
    }
  }
  // With few people there may be too few meetings; from a few dozen on there are plenty.
  if (missing !== 0 && people >= 100)
    throw new Error(`expected ${wanted} pairs of two people, missed by ${missing}: this is a bug in local/generate`);
}

/** For each slot of a consenting person: how many other consenting people are at its meeting; 0 for all other slots. */
function companyOf(meetingOf: Int32Array, datedSteps: Int8Array): Uint8Array {
  const consentingAt = new Map<number, number>();
  const present = (slot: number): boolean => at(meetingOf, slot) !== -1 && at(datedSteps, personOf(slot)) !== NO_CONSENT;
  for (let slot = 0; slot < meetingOf.length; slot += 1) {
    const meeting = at(meetingOf, slot);
    if (present(slot)) consentingAt.set(meeting, (consentingAt.get(meeting) ?? 0) + 1);
  }
  return Uint8Array.from(meetingOf, (meeting, slot) => (present(slot) ? (consentingAt.get(meeting) ?? 1) - 1 : 0));
}

function shuffledSlots(slots: number, random: Random): Uint32Array {
  const order = new Uint32Array(slots).map((_, slot) => slot);
  random.shuffle(order);
  return order;
}

/** Slots by their number of motions. */
class Shelf {
  readonly #slots = new Map<number, number[]>();

  put(slot: number, motions: number): void {
    const others = this.#slots.get(motions);
    if (others === undefined) this.#slots.set(motions, [slot]);
    else others.push(slot);
  }

  take(motions: number): number | undefined {
    return this.#slots.get(motions)?.pop();
  }
}
