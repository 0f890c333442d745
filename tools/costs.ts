import { markdownTable } from 'markdown-table';
import { z } from 'zod';
import { JOB_STEPS } from '../functions/core/steps.ts';
import pricesFile from './prices.json' with { type: 'json' };

/**
 * What the service costs on AWS: an idle month, one small run, one large run. Every number is a quantity times a price of `prices.json`, and every
 * quantity says what it stands for. `npm run costs` prints them, with `--json` as JSON; docs/costs.md is written by `npm run docs`.
 */

const { region, prices } = z
  .strictObject({
    region: z.string(),
    prices: z.array(
      z.strictObject({
        name: z.string(),
        usd: z.number().positive(),
        per: z.number().positive(),
        source: z.url(),
        asOf: z.string(),
      }),
    ),
  })
  .parse(pricesFile);

interface Use {
  price: string;
  quantity: number;
  why: string;
}

interface Line extends Use {
  usd: number;
}

interface Scenario {
  name: string;
  about: string;
  lines: Line[];
  usd: number;
}

const HOURS = 730;
const SCHEDULE = HOURS * 4;

/** What the template creates; test/template checks these against it. */
export const MADE = { alarmMetrics: 17, customMetrics: 10, metricsOfSchedule: 3, interfaceEndpoints: 4, zones: 2, states: 13 };

/**
 * What a first run needs of Spark: 64 seconds of two cores for 1 GB of landing files, everything included (docs/benchmarks.md has 55 to 68);
 * and the assumption that a Glue vCPU, which is a hyper-thread, does half the work of a core.
 */
const SPARK = { coreSecondsPerGb: 64 * 2, coresPerVcpu: 0.5, vcpusPerDpu: 4 };

/** A job with little to do: Spark's start, planning and metadata, with the two workers that a job has at least. */
const SMALL_JOB = { seconds: 75, dpus: 2 };
const JOBS = JOB_STEPS.length;

export function scenarios(): Scenario[] {
  return [idleMonth(), networkMonth(), smallRun(), largeRun(), largeMonth()];
}

function idleMonth(): Scenario {
  return scenario('Idle month', 'nothing lands; reconcile looks every 15 minutes', [
    { price: 'CloudWatch alarm metric month', quantity: MADE.alarmMetrics, why: 'ten alarms, one of them on eight metrics' },
    { price: 'CloudWatch custom metric month', quantity: MADE.metricsOfSchedule, why: 'what reconcile measures each time' },
    { price: 'CloudWatch dashboard month', quantity: 1, why: 'the first three of an account are free' },
    { price: 'KMS key month', quantity: 1, why: 'encrypts alerts' },
    { price: 'SQS request', quantity: 5 * 3 * 60 * HOURS, why: 'Lambda asks the queue with five pollers, for 20 seconds each' },
    { price: 'Lambda GB second (arm64)', quantity: SCHEDULE * 1.5, why: 'reconcile, 1 GB for 1.5 seconds' },
    { price: 'Lambda request', quantity: SCHEDULE, why: 'reconcile' },
    {
      price: 'S3 PUT, COPY or LIST request',
      quantity: SCHEDULE * 3,
      why: 'three prefixes of landing, up to 1,000 file versions each',
    },
    { price: 'DynamoDB read request unit', quantity: SCHEDULE * 40, why: 'lock, and twice 16 parts of the index' },
    {
      price: 'DynamoDB read request unit',
      quantity: (HOURS / 24) * 3_000 * 0.5,
      why: 'once a day these file versions are looked up',
    },
    { price: 'X-Ray trace', quantity: SCHEDULE, why: 'reconcile' },
    { price: 'CloudWatch Logs GB', quantity: (SCHEDULE * 2) / 1e6, why: '2 KB each time' },
  ]);
}

function networkMonth(): Scenario {
  const { interfaceEndpoints, zones } = MADE;
  return scenario('network: vpc, each month besides', 'Glue jobs in private subnets', [
    {
      price: 'Interface endpoint hour and zone',
      quantity: interfaceEndpoints * zones * HOURS,
      why: `${interfaceEndpoints} endpoints in ${zones} zones`,
    },
  ]);
}

function smallRun(): Scenario {
  return scenario(
    'One small run',
    'the reference data: 3 files, 10 MB, 110,909 records',
    run(3, JOBS * SMALL_JOB.seconds * SMALL_JOB.dpus, `${JOBS} jobs of 75 seconds with two workers`, 400),
  );
}

function largeRun(): Scenario {
  const { coreSecondsPerGb, coresPerVcpu, vcpusPerDpu } = SPARK;
  const dpuSeconds = (100 * coreSecondsPerGb) / coresPerVcpu / vcpusPerDpu + JOBS * SMALL_JOB.seconds * SMALL_JOB.dpus;
  return scenario(
    'One run of 100 GB',
    '10,000 files of 10 MB, a billion records',
    run(10_000, dpuSeconds, `by size, and what ${JOBS} small jobs take`, 20_000),
  );
}

function largeMonth(): Scenario {
  return scenario('100 GB stored, each month', 'what landed, and the tables that were built from it', [
    {
      price: 'S3 Standard GB month',
      quantity: 100 + 60,
      why: 'landing; tables of a third of that size, and their older snapshots',
    },
    { price: 'Athena TB scanned', quantity: 0.1, why: 'ten queries over ten GB' },
  ]);
}

/** One run over this many files. Requests per file are those of catalog, ledger and jobs (docs/spark.md, "What grows with what"). */
function run(files: number, dpuSeconds: number, why: string, tableFiles: number): Use[] {
  return [
    { price: 'Glue DPU second', quantity: dpuSeconds, why },
    { price: 'Lambda GB second (arm64)', quantity: 60 + files * 0.05, why: 'catalog, plan, validate, report, reconcile' },
    { price: 'Lambda request', quantity: 6 + files / 10, why: 'files in batches' },
    { price: 'Step Functions transition', quantity: MADE.states, why: 'the states that a run enters' },
    { price: 'S3 PUT, COPY or LIST request', quantity: files + tableFiles, why: 'files that land, files of tables' },
    {
      price: 'S3 GET request',
      quantity: files * 8 + tableFiles * 3,
      why: 'first bytes, checks, reading; tables and their metadata',
    },
    {
      price: 'DynamoDB write request unit',
      quantity: 50 + files * 10,
      why: 'registered, claimed in a transaction, settled; with the index',
    },
    { price: 'DynamoDB read request unit', quantity: 300 + files * 6, why: 'looked up, claimed, settled' },
    { price: 'EventBridge event of S3', quantity: files, why: 'one for each file' },
    { price: 'SQS request', quantity: files * 1.2, why: 'sent one by one, received and deleted in batches' },
    { price: 'CloudWatch Logs GB', quantity: 0.05 + files / 1e6, why: 'logs of Spark, 1 KB for each file' },
  ];
}

function scenario(name: string, about: string, uses: readonly Use[]): Scenario {
  const lines = uses.map((use) => ({ ...use, usd: cost(use) }));
  return { name, about, lines, usd: lines.reduce((sum, { usd }) => sum + usd, 0) };
}

function cost({ price, quantity }: Use): number {
  const found = prices.find(({ name }) => name === price);
  if (found === undefined) throw new Error(`tools/prices.json has no price of "${price}"`);
  return (quantity * found.usd) / found.per;
}

/** The page: totals, then what each is made of, then the prices. */
export function costsPage(): string {
  const all = scenarios();
  return `${[
    '# What it costs on AWS',
    `US dollars, region ${region}, without free tiers and discounts. Written by \`npm run docs\` from \`tools/costs.ts\` and \`tools/prices.json\`; \`npm run costs\` prints the same.`,
    summary(all),
    'Time and money of a run are those of Glue. Its start (30 to 60 seconds for each job) costs time and no money. DPU seconds of the large run are an estimate: a first ' +
      'run over 1 GB takes about a minute on two cores (reckoned with 64 seconds), and a vCPU is half a core. ' +
      'The dashboard shows the DPU seconds that were really used.',
    ...all.map(section),
    '## Prices',
    'As AWS published them; look there before you rely on one.',
    table(
      ['price', 'USD', 'of', 'source', 'as of'],
      prices.map(({ name, usd, per, source, asOf }) => [name, plain(usd), per.toLocaleString('en'), source, asOf]),
      'lrrll',
    ),
  ].join('\n\n')}\n`;
}

function summary(all: readonly Scenario[]): string {
  return table(
    ['', 'USD', 'what'],
    all.map(({ name, usd, about }) => [name, dollars(usd), about]),
    'lrl',
  );
}

function section({ name, lines, usd }: Scenario): string {
  const rows = lines.map((line) => [line.price, Math.round(line.quantity * 1000) / 1000, line.usd, line.why] as const);
  return [
    `## ${name}`,
    table(
      ['price', 'quantity', 'USD', 'why'],
      [
        ...rows.map(([price, quantity, each, why]) => [price, quantity.toLocaleString('en'), dollars(each), why]),
        ['**together**', '', `**${dollars(usd)}**`, ''],
      ],
      'lrrl',
    ),
  ].join('\n\n');
}

function table(head: string[], rows: string[][], align: string): string {
  return markdownTable([head, ...rows], { align: [...align] });
}

function dollars(usd: number): string {
  return usd > 0 && usd < 0.0001 ? '< 0.0001' : usd.toFixed(usd < 0.1 ? 4 : 2);
}

function plain(usd: number): string {
  return usd.toLocaleString('en', { maximumFractionDigits: 10 });
}

if (import.meta.main) {
  const all = scenarios();
  if (process.argv.includes('--json')) console.log(JSON.stringify({ region, scenarios: all, prices }, null, 2));
  else console.log([summary(all), ...all.map(section)].join('\n\n'));
}
