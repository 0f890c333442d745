import { repeated } from './defect.ts';
import type { Defect, Mixed } from './defect.ts';
import type { Material } from './material.ts';
import { Sheet } from './sheet.ts';
import type { Members } from '../records.ts';

type Change = (members: Members) => Members;

/** The changes of a defect, for each kind of record that has it. */
interface Changes {
  readonly customer?: readonly Change[];
  readonly motion?: readonly Change[];
  readonly step?: readonly Change[];
}

/** Records that break their contract in one field: each is a fresh record with one change, after a correct one. */
const BROKEN: readonly { kind: string; what: string; changes: Changes }[] = [
  {
    kind: 'missing_field',
    what: 'records without a required field; rejected',
    changes: {
      customer: [without('email')],
      motion: [without('user'), without('timestamp'), without('z')],
      step: [without('serialNumber')],
    },
  },
  {
    kind: 'null_field',
    what: 'records with null or blank text in a required field; rejected',
    changes: {
      customer: [set('email', 'null')],
      motion: [set('user', '" \u00a0\\t"'), set('x', 'null')],
      step: [set('distanceFromObject', 'null'), set('serialNumber', '""')],
    },
  },
  {
    kind: 'mistyped_field',
    what: 'records with a value of the wrong type; rejected',
    changes: {
      customer: [set('email', 'true'), set('customerName', '{"first": "Orina"}'), set('registrationDate', '"soon"')],
      motion: [
        set('timestamp', '1655500000000.5'),
        set('timestamp', '1.6555e12'),
        set('timestamp', '"1655500000000.0"'),
        set('x', '"fast"'),
        set('y', 'true'),
        set('z', '[-1.0]'),
        set('z', '" 0.0"'),
      ],
      step: [
        set('distanceFromObject', '212.5'),
        set('distanceFromObject', '"near"'),
        set('distanceFromObject', '"0212"'),
        set('serialNumber', '2.5'),
      ],
    },
  },
  {
    kind: 'number_too_large',
    what: 'numbers that don’t fit into 64 bits, or are infinite; rejected',
    changes: {
      customer: [set('lastUpdateDate', '9223372036854775808')],
      motion: [set('x', '1e999'), set('y', '"-1e999"')],
      step: [set('distanceFromObject', '99999999999999999999')],
    },
  },
  {
    kind: 'duplicate_field',
    what: 'records that have a field twice, also in another letter case; rejected',
    changes: {
      customer: [twice('email', 'EMAIL')],
      motion: [twice('timestamp', 'timeStamp')],
      step: [twice('serialNumber', 'serialNumber')],
    },
  },
  {
    kind: 'lone_surrogate',
    what: 'text with half a character; rejected',
    changes: { customer: [set('customerName', '"Orina \\ud83d"')], step: [set('serialNumber', '"\\udc00-step"')] },
  },
  {
    kind: 'time_out_of_range',
    what: 'reading times of zero, before 1970 or after the year 9999; rejected',
    changes: {
      motion: [set('timestamp', '0'), set('timestamp', '-1655500000000')],
      step: [set('sensorReadingTime', '253402300800000'), set('sensorReadingTime', '"0"')],
    },
  },
  {
    kind: 'negative_consent',
    what: 'customers with a negative consent date; rejected',
    changes: { customer: [set('shareWithResearchAsOfDate', '-1')] },
  },
];

/** Clean records of people with consent, written in another way that the rules treat as the same: duplicates. */
const RESPELLED: readonly { kind: string; what: string; changes: Changes }[] = [
  {
    kind: 'unknown_fields',
    what: 'clean records once more with fields that no contract knows; noted as drift, otherwise duplicates',
    changes: onAll((members) => [...members, ['appVersion', '"2.4.1"'], ['origin', '{"os": "any", "tags": [1, null, "{"]}']]),
  },
  {
    kind: 'other_letter_case',
    what: 'clean records once more with field names in other letter case; duplicates',
    changes: {
      customer: [renamed((name) => name.toLowerCase()), renamed((name) => name.toUpperCase())],
      motion: [renamed((name) => (name === 'timestamp' ? 'timeStamp' : name)), renamed((name) => name.toUpperCase())],
      step: [renamed((name) => name.toLowerCase()), renamed((name) => name.charAt(0).toUpperCase() + name.slice(1))],
    },
  },
  {
    kind: 'other_field_order',
    what: 'clean records once more with the fields in reverse order; duplicates',
    changes: onAll((members) => members.toReversed()),
  },
  {
    kind: 'numbers_as_strings',
    what: 'clean records once more with numbers as strings; valid, so duplicates',
    changes: onAll(values((json) => (isNumber(json) ? `"${json}"` : json))),
  },
  {
    kind: 'integers_with_point_zero',
    what: 'clean records once more with integers written with .0; valid, so duplicates',
    changes: onAll(values((json) => (/^[0-9]+$/.test(json) ? `${json}.0` : json))),
  },
  {
    kind: 'other_number_spelling',
    what: 'clean records once more with 1 or 1.0e0 for 1.0, -0.0 for 0.0, and the phone as a number; valid, so duplicates',
    changes: {
      customer: [valueOf('phone', (json) => json.slice(1, -1)), valueOf('phone', (json) => `${json.slice(1, -1)}.0`)],
      motion: [
        values((json) => (json === '0.0' ? '-0.0' : json.replace(/\.0$/, ''))),
        values((json) => (json.endsWith('.0') ? `${json}e0` : json)),
      ],
    },
  },
  {
    kind: 'blanks_around_text',
    what: 'clean records once more with blanks, tabs and no-break spaces around text; duplicates',
    changes: onAll(values((json) => (json.startsWith('"') ? `" \u00a0${json.slice(1, -1)}\\u00a0\\t "` : json))),
  },
  {
    kind: 'email_in_upper_case',
    what: 'clean records once more with the e-mail address in upper case; duplicates',
    changes: {
      customer: [valueOf('email', (json) => json.toUpperCase())],
      motion: [valueOf('user', (json) => json.toUpperCase())],
    },
  },
  {
    kind: 'escaped_text',
    what: 'clean records once more with escaped characters in names and values; duplicates',
    changes: onAll((members) =>
      members.map(([name, json]) => [escaped(name), json.startsWith('"') ? `"${escaped(json.slice(1, -1))}"` : json]),
    ),
  },
];

/** Defects of single fields. */
export const FIELD_DEFECTS: readonly Defect[] = [
  ...BROKEN.map(({ kind, what, changes }) => ({
    kind,
    what,
    mix: (material: Material, times: number) => mixBroken(kind, changes, material, times),
  })),
  ...RESPELLED.map(({ kind, what, changes }) => ({
    kind,
    what,
    mix: (material: Material, times: number) => mixRespelled(kind, changes, material, times),
  })),
  {
    kind: 'no_consent_spelled_out',
    what: 'clean customers without consent once more, with 0, "" or null for it; valid and no consent, so duplicates',
    mix: (material, times) => {
      const sheet = new Sheet('customer_landing');
      const spellings = ['0', '""', 'null', '"0"', '0.0', '" \u00a0"'];
      for (const spelling of repeated(times, () => spellings).flat()) {
        const members: Members = [...material.cleanCustomerWithoutConsent(), ['shareWithResearchAsOfDate', spelling]];
        sheet.again(`${sheet.text(members)}\n`);
      }
      return { count: times * spellings.length, drops: [sheet.drop('no-consent-spelled-out.json')] };
    },
  },
];

function mixBroken(kind: string, changes: Changes, material: Material, times: number): Mixed {
  return mixed(kind, changes, times, {
    customer: () => material.freshCustomer(),
    motion: () => material.freshMotion(),
    step: () => material.freshStep(),
    add: (sheet, make, change) => sheet.freshLine(make()).bad(`${sheet.text(change(make()))}\n`),
  });
}

function mixRespelled(kind: string, changes: Changes, material: Material, times: number): Mixed {
  return mixed(kind, changes, times, {
    customer: () => material.cleanCustomer(),
    motion: () => material.cleanMotion(),
    step: () => material.cleanStep(),
    add: (sheet, make, change) => sheet.again(`${sheet.text(change(make()))}\n`),
  });
}

interface Mix {
  readonly customer: () => Members;
  readonly motion: () => Members;
  readonly step: () => Members;
  readonly add: (sheet: Sheet, make: () => Members, change: Change) => void;
}

/** One file for each table that has the defect, with each of its changes `times` times. */
function mixed(kind: string, changes: Changes, times: number, mix: Mix): Mixed {
  const parts = [
    { sheet: new Sheet('customer_landing'), make: mix.customer, own: changes.customer ?? [] },
    { sheet: new Sheet('accelerometer_landing'), make: mix.motion, own: changes.motion ?? [] },
    { sheet: new Sheet('step_trainer_landing'), make: mix.step, own: changes.step ?? [] },
  ].filter(({ own }) => own.length > 0);
  let count = 0;
  for (const { sheet, make, own } of parts) {
    for (const change of repeated(times, () => own).flat()) {
      mix.add(sheet, make, change);
      count += 1;
    }
  }
  return { count, drops: parts.map(({ sheet }) => sheet.drop(`${kind.replaceAll('_', '-')}.json`)) };
}

// Changes

export function set(field: string, json: string): Change {
  return (members) => [...without(field)(members), [field, json]];
}

export function without(field: string): Change {
  return (members) => members.filter(([name]) => name !== field);
}

/** Repeats a field under a name that means the same. */
function twice(field: string, name: string): Change {
  return (members) => [...members, ...members.filter(([own]) => own === field).map(([, json]) => [name, json] as const)];
}

function renamed(rename: (name: string) => string): Change {
  return (members) => members.map(([name, json]) => [rename(name), json]);
}

function values(respell: (json: string) => string): Change {
  return (members) => members.map(([name, json]) => [name, respell(json)]);
}

function valueOf(field: string, respell: (json: string) => string): Change {
  return (members) => members.map(([name, json]) => [name, name === field ? respell(json) : json]);
}

function onAll(change: Change): Changes {
  return { customer: [change], motion: [change], step: [change] };
}

function isNumber(json: string): boolean {
  return /^-?[0-9]/.test(json);
}

/** The same text with its first character as an escape. */
function escaped(text: string): string {
  return `\\u${text.charCodeAt(0).toString(16).padStart(4, '0')}${text.slice(1)}`;
}
