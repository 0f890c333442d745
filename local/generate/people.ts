import { at, Random, scramble } from './random.ts';

/** Who a person is. Nobody's real data: names are put together from syllables, domains are those reserved for examples. */
export interface Person {
  customerName: string;
  email: string;
  phone: string;
  birthDay: string;
  serialNumber: string;
}

// No combination of a beginning and an end gives the same name twice.
const FIRST_NAMES = combined(
  'Al Ber Cor Dan El Fen Gil Hal Is Jor Kel Lor Mar Nel Or Per Quin Ros Sel Tam Ul Ver Wil Yar',
  'an ara ek ena ic ina o ora us wen ya iel eth inder olin ette',
);
const LAST_NAMES = combined(
  'Amber Ash Birch Bright Clover Copper Drift Elder Fair Fern Flint Frost Glen Hazel Heather Hollow Juniper Lark Maple Mill North Oak Quill River Stone',
  'bank bridge brook by combe dale field ford gate grove ham hurst ley mere ton wick',
);
const NAMES = FIRST_NAMES.length * LAST_NAMES.length;

/** Primes that don't divide the number of names: stepping through the names in such a stride visits each once. */
const STRIDES = [48_611, 60_271, 71_993, 82_421, 93_481, 104_729];

/** The person at a place in the list of all people of a seed. E-mail and serial number are that person's alone. */
export function personAt(seed: number, index: number): Person {
  const random = new Random(seed, index, 0x70e0);
  const { first, last, round } = nameAt(seed, index);
  const namesake = round === 0 ? '' : String(round + 1);
  return {
    customerName: `${first} ${last}`,
    email: `${first}.${last}${namesake}@example.${random.chance(0.5) ? 'com' : 'org'}`,
    phone: `${random.between(201, 989)}555${String(random.below(10_000)).padStart(4, '0')}`,
    birthDay: birthDay(random),
    serialNumber: serialNumber(seed, index, random),
  };
}

function nameAt(seed: number, index: number): { first: string; last: string; round: number } {
  const stride = at(STRIDES, seed % STRIDES.length);
  const name = (scramble(seed) + (index % NAMES) * stride) % NAMES;
  return {
    first: at(FIRST_NAMES, name % FIRST_NAMES.length),
    last: at(LAST_NAMES, Math.floor(name / FIRST_NAMES.length)),
    round: Math.floor(index / NAMES),
  };
}

function birthDay(random: Random): string {
  // Some people in the reference data are centuries old: a birth day is text, and nothing may read it as a date.
  const year = random.chance(0.05) ? random.between(967, 1899) : random.between(1930, 2004);
  return `${String(year).padStart(4, '0')}-${twoDigits(random.between(1, 12))}-${twoDigits(random.between(1, 28))}`;
}

function twoDigits(number: number): string {
  return String(number).padStart(2, '0');
}

/** In the form of a version 4 UUID. The first group is a bijection of the index, hence no two alike. */
function serialNumber(seed: number, index: number, random: Random): string {
  const first = hex(scramble(index ^ scramble(seed)));
  const [second, third, fourth] = [hex(random.next()), hex(random.next()), hex(random.next())];
  const variant = at(['8', '9', 'a', 'b'], random.below(4));
  return `${first}-${second.slice(0, 4)}-4${second.slice(5)}-${variant}${third.slice(1, 4)}-${third.slice(4)}${fourth}`;
}

function hex(bits: number): string {
  return bits.toString(16).padStart(8, '0');
}

function combined(beginnings: string, ends: string): string[] {
  return beginnings.split(' ').flatMap((beginning) => ends.split(' ').map((end) => beginning + end));
}
