/**
 * How many of each thing a crowd has, so that the tables built from it have the proportions of the reference data. Quotas are
 * exact for 956 people, whatever the seed; for other sizes each is the nearest integer (and below about 15 people the nearest
 * possible one: one device can't have 31 readings).
 */

/** Step trainer readings of each device. */
export const STEPS = 30;

/** The most motions one person has at one time. */
const MOST_MOTIONS = 6;

/**
 * The reference proportions. "Trusted" readings are those of people who consent; "dated" ones were made at or after the instant
 * from which the person consents, which is what the policy `consentFrom: consent-date` keeps.
 */
export const REFERENCE = {
  people: 956,
  consenting: 482,
  /** Of them, people with at least one dated reading … */
  dated: 464,
  /** … and people all of whose readings are dated. */
  datedFully: 95,
  datedSteps: 11_297,

  motions: 81_273,
  trustedMotions: 40_981,
  datedMotions: 32_025,
  /** Nearly every (person, time) has two or three motions; this many have another number. */
  rareMotions: {
    dated: { 1: 34, 4: 1 },
    undated: { 1: 17 },
    untrusted: { 1: 41, 5: 1, 6: 1 },
  },

  /** Trusted pairs of one person's step with another person's motion at the same time. */
  otherPersonPairs: 2_700,
  /** Times at which two or more people have a reading: how many people, how many of them consent, and how often. */
  meetings: [
    { people: 5, consenting: 3, count: 2 },
    { people: 4, consenting: 3, count: 1 },
    { people: 4, consenting: 2, count: 2 },
    { people: 3, consenting: 3, count: 13 },
    { people: 3, consenting: 2, count: 35 },
    { people: 3, consenting: 1, count: 25 },
    { people: 3, consenting: 0, count: 4 },
    { people: 2, consenting: 2, count: 386 },
    { people: 2, consenting: 1, count: 686 },
    { people: 2, consenting: 0, count: 327 },
  ],

  /** With whom else people share: with the public and friends, the public, friends, nobody. */
  otherSharing: { consenting: [130, 110, 140, 102], others: [117, 134, 121, 102] },
} as const;

/** Times at which `people` people, `consenting` of them with consent, have a reading at the same time. */
export interface Meeting {
  readonly people: number;
  readonly consenting: number;
  readonly count: number;
}

/** How many motions there are at each (person, time) of a group of readings: one number for each, in no order. */
type MotionCounts = Uint8Array;

export interface Quotas {
  consenting: number;
  dated: number;
  datedFully: number;
  datedSteps: number;
  motions: { dated: MotionCounts; undated: MotionCounts; untrusted: MotionCounts };
  otherPersonPairs: number;
  meetings: Meeting[];
  otherSharing: { consenting: number[]; others: number[] };
}

/** The quotas of a crowd. @param people at least 2 */
export function quotasOf(people: number): Quotas {
  const scaled = (count: number): number => Math.round((people * count) / REFERENCE.people);

  const consenting = within(scaled(REFERENCE.consenting), 1, people - 1);
  const dated = Math.min(scaled(REFERENCE.dated), consenting);
  const trustedSteps = consenting * STEPS;
  const datedSteps = within(scaled(REFERENCE.datedSteps), dated, dated * STEPS);
  const undatedSteps = trustedSteps - datedSteps;

  const motions = scaled(REFERENCE.motions);
  const trustedMotions = within(scaled(REFERENCE.trustedMotions), trustedSteps, trustedSteps * MOST_MOTIONS);
  const datedMotions = within(
    scaled(REFERENCE.datedMotions),
    Math.max(datedSteps, trustedMotions - undatedSteps * MOST_MOTIONS),
    Math.min(datedSteps * MOST_MOTIONS, trustedMotions - undatedSteps),
  );
  const rare = (counts: Readonly<Record<number, number>>): number[] =>
    Object.entries(counts).flatMap(([count, times]) => new Array<number>(scaled(times)).fill(Number(count)));

  return {
    consenting,
    dated,
    datedFully: Math.min(scaled(REFERENCE.datedFully), dated),
    datedSteps,
    motions: {
      dated: motionCounts(datedSteps, datedMotions, rare(REFERENCE.rareMotions.dated)),
      undated: motionCounts(undatedSteps, trustedMotions - datedMotions, rare(REFERENCE.rareMotions.undated)),
      untrusted: motionCounts((people - consenting) * STEPS, motions - trustedMotions, rare(REFERENCE.rareMotions.untrusted)),
    },
    otherPersonPairs: scaled(REFERENCE.otherPersonPairs),
    meetings: meetingsOf(scaled),
    otherSharing: {
      consenting: apportioned(consenting, REFERENCE.otherSharing.consenting),
      others: apportioned(people - consenting, REFERENCE.otherSharing.others),
    },
  };
}

function within(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(value, high));
}

/** Numbers of motions that add up to the total: the rare ones, and two neighbouring numbers (2 and 3) for the rest. */
function motionCounts(times: number, total: number, rare: readonly number[]): MotionCounts {
  const rest = times - rare.length;
  const restTotal = total - sum(rare);
  // Too few people for the rare numbers to fit.
  if (rare.length > 0 && (restTotal < rest || restTotal > rest * MOST_MOTIONS)) return motionCounts(times, total, []);
  const counts = new Uint8Array(times);
  if (rest === 0) return counts;
  const low = Math.floor(restTotal / rest);
  counts.fill(low);
  counts.fill(low + 1, 0, restTotal - low * rest);
  counts.set(rare, rest);
  return counts;
}

/**
 * Each kind of meeting is rounded by itself, which would leave the pairs they make some percent off; so meetings of two consenting
 * people, the most frequent source of pairs, make up for it. The numbers of motions settle what then remains.
 */
function meetingsOf(scaled: (count: number) => number): Meeting[] {
  const pairsOfUnit = REFERENCE.otherPersonPairs / sum(REFERENCE.meetings.map(pairUnits));
  const meetings = REFERENCE.meetings.map((meeting) => ({ ...meeting, count: scaled(meeting.count) }));
  return meetings.map((meeting) => {
    if (meeting.people !== 2 || meeting.consenting !== 2) return meeting;
    const others = sum(meetings.filter((other) => other !== meeting).map(pairUnits));
    const missing = scaled(REFERENCE.otherPersonPairs) / pairsOfUnit - others;
    return { ...meeting, count: Math.max(0, Math.round(missing / 2)) };
  });
}

/** Each consenting person's motions at a meeting pair with the steps of all other consenting ones. */
function pairUnits({ consenting, count }: Meeting): number {
  return count * consenting * Math.max(0, consenting - 1);
}

/** Splits a total by weights: the rest goes to the largest remainders, the first of equal ones first. */
function apportioned(total: number, weights: readonly number[]): number[] {
  const exact = weights.map((weight) => (total * weight) / sum(weights));
  const counts = exact.map(Math.floor);
  const byRemainder = exact.map((share, index) => ({ index, remainder: share % 1 })).sort((a, b) => b.remainder - a.remainder);
  const lucky = new Set(byRemainder.slice(0, total - sum(counts)).map(({ index }) => index));
  return counts.map((count, index) => (lucky.has(index) ? count + 1 : count));
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
