import { repeated } from './defect.ts';
import type { Defect } from './defect.ts';
import { set, without } from './fields.ts';
import { Sheet } from './sheet.ts';

/** Records that are well formed one by one, and odd together. */
export const MEANING_DEFECTS: readonly Defect[] = [
  {
    kind: 'same_records_twice',
    what: 'new records that stand in their file twice; the second ones are duplicates',
    mix: (material, times) => {
      const sheet = new Sheet('accelerometer_landing');
      const lines = repeated(times, () => `${sheet.text(material.freshMotion())}\n`);
      for (const line of lines) sheet.fresh(line);
      for (const line of lines) sheet.again(line);
      return { count: times, drops: [sheet.drop('same-records-twice.json')] };
    },
  },
  {
    kind: 'same_content_new_name',
    what: 'a file that landed under two names; the records of one of them are duplicates',
    mix: (material, times) => {
      const first = new Sheet('step_trainer_landing');
      const second = new Sheet('step_trainer_landing');
      for (let line = 0; line <= times; line += 1) {
        const text = `${first.text(material.freshStep())}\n`;
        first.fresh(text);
        second.again(text);
      }
      return { count: 1, drops: [first.drop('upload.json'), second.drop('upload (1).json')] };
    },
  },
  {
    kind: 'shared_device',
    what: 'devices that two people hold; nobody can say whose their readings are: withheld as ambiguous_device',
    mix: (material, times) => {
      const customers = new Sheet('customer_landing');
      const steps = new Sheet('step_trainer_landing');
      for (let device = 0; device < times; device += 1) {
        const [holder, other] = [material.stranger(), material.stranger()];
        const { serialNumber } = holder;
        customers.freshLine(material.freshCustomer(holder)).freshLine(material.freshCustomer({ ...other, serialNumber }));
        steps.freshLine(material.freshStep(serialNumber)).freshLine(material.freshStep(serialNumber));
      }
      return { count: times, drops: [customers.drop('shared-devices.json'), steps.drop('shared-devices.json')] };
    },
  },
  {
    kind: 'unknown_person',
    what: 'accelerometer readings of people whom no customer record knows; withheld as unknown_customer',
    mix: (material, times) => {
      const sheet = new Sheet('accelerometer_landing');
      for (let reading = 0; reading < times; reading += 1) sheet.freshLine(material.freshMotion(material.stranger().email));
      return { count: times, drops: [sheet.drop('unknown-people.json')] };
    },
  },
  {
    kind: 'unknown_device',
    what: 'step trainer readings of devices that nobody holds; withheld as unknown_device',
    mix: (material, times) => {
      const sheet = new Sheet('step_trainer_landing');
      for (let reading = 0; reading < times; reading += 1) sheet.freshLine(material.freshStep(material.stranger().serialNumber));
      return { count: times, drops: [sheet.drop('unknown-devices.json')] };
    },
  },
  {
    kind: 'no_device',
    what: 'customers who registered and have no device yet: the serial number is absent, null or empty; valid',
    mix: (material, times) => {
      const sheet = new Sheet('customer_landing');
      for (let customer = 0; customer < times; customer += 1) {
        for (const lacking of [without('serialNumber'), set('serialNumber', 'null'), set('serialNumber', '""')]) {
          sheet.freshLine(lacking(material.freshCustomer()));
        }
      }
      return { count: 3 * times, drops: [sheet.drop('no-device.json')] };
    },
  },
  {
    kind: 'undated_withdrawal',
    what: 'records that withdraw a consent, without a date or with one in seconds: they change nothing, and reports count these people',
    mix: (material, times) => {
      const sheet = new Sheet('customer_landing');
      for (let person = 0; person < times; person += 1) {
        for (const undated of [without('lastUpdateDate'), set('lastUpdateDate', '1655564376')]) {
          sheet.freshLine(undated(material.freshWithdrawal()));
        }
      }
      return { count: 2 * times, drops: [sheet.drop('undated-withdrawals.json')] };
    },
  },
];
