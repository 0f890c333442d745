/** Records as the web site, the device and the app write them, with only what a test is about spelled out. */

export const AT = 1_655_564_376_000;
export const CONSENT = AT - 1_000_000;

interface CustomerLine {
  email: string;
  serial?: string | null;
  /** Instant of the consent to research; omitted for none. */
  shares?: number;
  updated?: number;
}

export function customer({ email, serial = `device-of-${email}`, shares, updated = AT - 2_000_000 }: CustomerLine): string {
  return JSON.stringify({
    customerName: `Name of ${email}`,
    email,
    phone: '8015551212',
    birthDay: '1970-01-01',
    ...(serial !== null && { serialNumber: serial }),
    registrationDate: AT - 3_000_000,
    lastUpdateDate: updated,
    ...(shares !== undefined && { shareWithResearchAsOfDate: shares }),
  });
}

export function motion(user: string, timestamp = AT, x = 1): string {
  return JSON.stringify({ user, timestamp, x, y: -0.5, z: 0.25 });
}

export function step(email: string, sensorReadingTime = AT, distanceFromObject = 200): string {
  return JSON.stringify({ sensorReadingTime, serialNumber: `device-of-${email}`, distanceFromObject });
}

export function lines(...records: readonly string[]): string {
  return records.map((record) => `${record}\n`).join('');
}

/** Landing files, by key, of people who each walked once. */
export function walk(people: readonly CustomerLine[]): Record<string, string> {
  return {
    'customer_landing/people.json': lines(...people.map(customer)),
    'accelerometer_landing/walk.json': lines(...people.map(({ email }, at) => motion(email, AT + at))),
    'step_trainer_landing/walk.json': lines(...people.map(({ email }, at) => step(email, AT + at))),
  };
}
