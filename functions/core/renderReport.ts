import { landingTableOf } from './catalogFile.ts';
import { CONTRACTS } from './contracts.ts';
import { CLAIMED_FIRST } from './fileVersions.ts';
import type { Policies } from './settings.ts';
import type { Held, Report } from './runFiles.ts';
import type { LandingTable, PublishedTable } from './steps.ts';
import { figure, filesText, printable, table } from './textTable.ts';

/** What a table's rows are about: its column in the row count table. */
const SUBJECTS: Record<LandingTable | Exclude<PublishedTable, 'loads' | 'rejected'>, string> = {
  customer_landing: 'customer',
  accelerometer_landing: 'accelerometer',
  step_trainer_landing: 'step trainer',
  customer_staging: 'customer',
  accelerometer_staging: 'accelerometer',
  step_trainer_staging: 'step trainer',
  customer_trusted: 'customer',
  accelerometer_trusted: 'accelerometer',
  customers_curated: 'customer',
  step_trainer_trusted: 'step trainer',
  machine_learning_curated: 'machine learning',
};

const COUNTED = CONTRACTS.flatMap(({ table: name, zone }) =>
  name === 'loads' || name === 'rejected' ? [] : [{ name, zone, subject: SUBJECTS[name] }],
);
const COUNTED_ZONES = [...new Set(COUNTED.map(({ zone }) => zone))];
const COUNTED_SUBJECTS = [...new Set(Object.values(SUBJECTS))];

/** The row count table: zones down, subjects across, with the change since the last run if there was one. */
export function rowCountTable(tables: Record<string, number>, before: Record<string, number> | null): string {
  const cell = (zone: string, subject: string): string => {
    const name = COUNTED.find((each) => each.zone === zone && each.subject === subject)?.name;
    const rows = name === undefined ? undefined : tables[name];
    if (name === undefined || rows === undefined) return '';
    const change = before === null ? 0 : rows - (before[name] ?? 0);
    return change === 0 ? figure(rows) : `${figure(rows)} (${change > 0 ? '+' : '−'}${figure(Math.abs(change))})`;
  };
  return table(
    ['zone', ...COUNTED_SUBJECTS],
    COUNTED_ZONES.map((zone) => [zone, ...COUNTED_SUBJECTS.map((subject) => cell(zone, subject))]),
  );
}

/** `43,681 at the same time = 40,981 same person + 2,700 other person, excluded` (docs/architecture.md says why). */
export function identitySentence(identity: NonNullable<Report['identity']>, mlJoin: Policies['mlJoin']): string {
  const end = mlJoin === 'time' ? 'included (mlJoin is time: strangers are paired)' : 'excluded';
  return `${figure(identity.sameTime)} at the same time = ${figure(identity.samePerson)} same person + ${figure(identity.otherPerson)} other person, ${end}`;
}

/** The request to ask people whose consent is in doubt; null if there are none. */
export function doubtSentence(people: number | null): string | null {
  if (people === null || people === 0) return null;
  const are = people === 1 ? '1 person is' : `${figure(people)} people are`;
  return `${are} trusted although one of their records does not share and may be the later one: its date, or that of the record that decides, is missing or not in milliseconds. Ask them: docs/records.md, "Which record of a person decides", says how to find them.`;
}

/** `report.md`: outcome first, then what changed and why; reads well in a terminal and in an e-mail. */
export function renderReport(report: Report): string {
  const sections = [
    headline(report),
    report.tables === null ? null : rowCountTable(report.tables, report.tablesBefore),
    report.tables === null ? null : identityOf(report),
    report.tables === null ? null : doubtSentence(report.consentsInDoubt),
    failures(report),
    section('Held, waiting for a person', heldTable(report.held)),
    report.tables === null ? unpublished(report) : section('Withheld: staged, but not trusted', withheldTable(report)),
    section('Rejected in this run', reasonTable(['landing table', 'reason', 'records'], report.rejected)),
    section('Landed in this run', landedTable(report)),
    report.tables === null ? null : section('Loaded, but every record was rejected', uselessTable(report)),
    section(
      'Slow to read',
      report.slow.length === 0
        ? null
        : `${report.slow.map((file) => `- ${file}`).join('\n')}\n\nA single task reads each of these, however large it is, because a gzip file can't be split, nor can one whose name has unusual characters: land it in parts, or uncompressed under a plain name.`,
    ),
    section(
      'Time',
      report.steps.length === 0
        ? null
        : table(
            ['step', 'seconds'],
            report.steps.map(({ step, seconds }) => [step, seconds.toFixed(2)]),
          ),
    ),
    footer(report),
  ];
  return printable(`${sections.filter((text) => text !== null).join('\n\n')}\n`);
}

/** The alert about files that a run held and no report mentions. */
export function renderHeld(runId: string, held: readonly Held[]): string {
  const title = `# HELD: ${filesText(held.length)} ${held.length === 1 ? 'waits' : 'wait'} for a person`;
  return `${[title, heldTable(held), `Run ${runId}. "stedi retry" makes them pending again.`].join('\n\n')}\n`;
}

function heldTable(held: readonly Held[]): string | null {
  if (held.length === 0) return null;
  const files = table(
    ['file', 'why'],
    held.map(({ file, why }) => [file, why]),
    ['l', 'l'],
  );
  const withdrawals = withdrawalsWait(held);
  return withdrawals === null ? files : `${files}\n\n${withdrawals}`;
}

/** What it means that customer files are held; null if none of these is one. */
export function withdrawalsWait(held: readonly { file: string }[]): string | null {
  if (!held.some(({ file }) => landingTableOf(file) === CLAIMED_FIRST)) return null;
  return 'A withdrawal of consent in a customer file takes effect only once the file is loaded: deal with customer files first.';
}

function identityOf({ identity, policies }: Report): string | null {
  return identity === null ? null : identitySentence(identity, policies?.mlJoin ?? 'person-and-time');
}

function withheldTable({ withheld }: Report): string | null {
  return reasonTable(['readings', 'reason', 'rows'], { ...withheld });
}

/** The counts of a run that was not published, under a title that says so. */
function unpublished(report: Report): string | null {
  const parts = [identityOf(report), withheldTable(report)].filter((part) => part !== null);
  return section('What this run would have published', parts.length === 0 ? null : parts.join('\n\n'));
}

function headline(report: Report): string {
  if (report.status === 'SUCCEEDED') {
    const met = report.expectations.length;
    return `# SUCCEEDED: ${report.files === 0 ? 'tables built anew' : `${filesText(report.files)} loaded`}, all tables published, ${met} expectations met`;
  }
  const nothing = report.publishing
    ? 'some tables may be published already; the rest follows by itself, and so does another report'
    : 'nothing was published; the tables are as they were';
  const published = report.tables === null ? nothing : 'the tables were published';
  return `# FAILED: ${published}\n\n${report.error === null ? '' : `${report.error.name}: ${report.error.cause}`}`.trimEnd();
}

function failures(report: Report): string | null {
  const failed = report.expectations.filter((expectation) => !expectation.ok);
  if (failed.length === 0) return null;
  return section(
    'Expectations not met',
    table(
      ['expectation', 'expected', 'found', 'look at'],
      failed.map(({ name, expected, found, look }) => [name, String(expected), String(found), look ?? '']),
      ['l', 'r', 'r', 'l'],
    ),
  );
}

function reasonTable(header: readonly string[], groups: Record<string, Record<string, number> | undefined>): string | null {
  const rows = Object.entries(groups).flatMap(([group, reasons]) =>
    Object.entries(reasons ?? {}).map(([reason, count]) => [group, reason, figure(count)]),
  );
  return rows.length === 0 ? null : table(header, rows, ['l', 'l', 'r']);
}

function landedTable(report: Report): string | null {
  const rows = Object.entries(report.loads)
    .filter(([, counts]) => counts.landed > 0)
    .map(([name, counts]) => [
      name,
      figure(counts.landed),
      figure(counts.staged),
      figure(counts.duplicate),
      figure(counts.rejected),
    ]);
  return rows.length === 0 ? null : table(['landing table', 'landed', 'staged', 'duplicate', 'rejected'], rows);
}

function uselessTable({ useless }: Report): string | null {
  if (useless.length === 0) return null;
  return `${table(
    ['file', 'records'],
    useless.map(({ file, records }) => [file, figure(records)]),
  )}\n\nJSON lines are expected. "stedi rejects" shows what is wrong with each record.`;
}

function section(title: string, text: string | null): string | null {
  return text === null ? null : `## ${title}\n\n${text}`;
}

function footer(report: Report): string {
  const policies =
    report.policies === null ? '' : `Policies: mlJoin ${report.policies.mlJoin}, consentFrom ${report.policies.consentFrom}. `;
  return `${policies}Run ${report.runId}, reported ${report.reportedAt}.`;
}
