import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import manifest from '../package.json' with { type: 'json' };
import { LakeBusyError, UsageError } from '../functions/core/errors.ts';
import { printable } from '../functions/core/textTable.ts';
import type { RebuildFlags } from './commands/rebuild.ts';
import { explained } from './explain.ts';
import type { GenerateOptions } from './generate.ts';
import type { CommandContext, CommonOptions } from './lake.ts';
import { requireLakeName } from './lakePaths.ts';
import { createOutput } from './output.ts';

/** The exit code for a lake that another process works on: EX_TEMPFAIL of sysexits.h. */
const BUSY = 75;

/** `stedi`: the pipeline on one machine, and commands for a deployed stage. */
const program = new Command('stedi')
  .description(
    'Drop customer, step trainer and accelerometer files; get tables that hold only people who share their data for research',
  )
  .option('--lake <dir>', 'the lake’s folder', 'lake')
  .option('--stage <name>', 'a stage on AWS instead of a lake on this machine')
  .option('--region <region>', 'the stage’s region (default: AWS_REGION, else us-east-1)')
  .option(
    '--json',
    'print one JSON value to standard output (except for help; watch: a line for each run), and everything else to standard error',
    false,
  )
  .option('--settings <file>', 'the settings file (default: settings.json of the project)')
  .option('--set <key=value>', 'a setting for this call; can be repeated', (value: string, all: string[]) => [...all, value], [])
  .addOption(new Option('--expect <counts>', 'check the published reference counts').choices(['published']))
  .version(manifest.version, '-V, --version', 'the version')
  .helpOption('-h, --help', 'help for a command, with examples')
  .addHelpCommand(false)
  .configureHelp({ showGlobalOptions: true })
  .showHelpAfterError('(--help shows how)')
  .exitOverride()
  .configureOutput({ writeErr: (text) => process.stderr.write(text) })
  .addHelpText(
    'after',
    `
Examples:
  stedi start                                   sample data in ./lake, one run
  stedi run ~/Downloads/stedi                   put files into landing and run
  stedi run --set mlJoin=time                   run under another policy
  stedi query "select count(*) from customer_trusted"
  stedi rejects --export mended                 rejected records, to fix and drop again
  stedi run ~/Downloads/stedi --stage dev       the same on AWS
Exit codes: 0 all is well; 1 a run or check failed, or a file is held or can't be read; 2 wrong usage;
  75 another process works on the lake: try again later`,
  );

const output = createOutput(process.argv.includes('--json'));

type Action = (context: CommandContext) => Promise<number>;

/** Runs an action with the options that every command takes, and sets the exit code. `onStage` does the same with --stage. */
async function act(action: Action, onStage: Action = notOnStage): Promise<void> {
  const options = program.opts<CommonOptions>();
  process.exitCode = await (isForStage(options) ? onStage : action)({ options, output });
}

function notOnStage(): never {
  throw new UsageError(
    'this command works on one machine only; --stage works with drop, run, runs, show, files, rejects, retry, check and query',
  );
}

/** @throws UsageError for options that don't go together */
function isForStage(options: CommonOptions): boolean {
  if (options.stage === undefined) {
    if (options.region !== undefined) throw new UsageError('--region is the region of a stage: add --stage');
    requireLakeName(options.lake);
    return false;
  }
  if (program.getOptionValueSource('lake') === 'cli')
    throw new UsageError('--lake is a lake on this machine, --stage one on AWS: give one of them, not both');
  if (options.settings !== undefined || options.set.length > 0)
    throw new UsageError('a stage runs under the settings it was deployed with: change settings.json and deploy');
  return true;
}

/** All others show what runs have built, each under its own settings. */
const BUILDS: ReadonlySet<string> = new Set(['start', 'run', 'watch', 'rebuild']);

program.hook('preAction', (_, acting) => {
  if (BUILDS.has(acting.name())) return;
  const { set, expect } = program.opts<CommonOptions>();
  const builders = [...BUILDS].join(', ');
  if (set.length > 0)
    throw new UsageError(`--set changes what a run builds, but ${acting.name()} builds nothing: use it with ${builders}`);
  if (expect !== undefined)
    throw new UsageError(`--expect checks what a run builds, but ${acting.name()} builds nothing: use it with ${builders}`);
});

function command(usage: string, description: string, examples: readonly string[]): Command {
  return program
    .command(usage)
    .description(description)
    .addHelpText('after', `\nExamples:\n${examples.map((example) => `  stedi ${example}`).join('\n')}`);
}

/** Quotes what was typed rather than saying NaN. */
function numberOf(typed: string): number {
  const value = Number(typed);
  if (typed.trim() === '' || Number.isNaN(value)) throw new InvalidArgumentError(`${typed} is not a number.`);
  return value;
}

function limitOf(typed: string): number {
  const value = numberOf(typed);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('Expected a whole number, 1 or more.');
  return value;
}

program.command('help [command]', { hidden: true }).action((name?: string) => {
  const named = program.commands.find((each) => each.name() === name);
  if (name !== undefined && named === undefined) throw new UsageError(`there is no command ${name}; "stedi --help" shows them`);
  (named ?? program).help();
});

command('start', 'make sample data if there is none, run, and show what to try next', ['start', 'start --lake /tmp/try']).action(
  () => act(async (context) => (await import('./commands/start.ts')).start(context)),
);

command('run [source...]', 'put files into landing and run until nothing is pending', [
  'run                              whatever is pending, including files that other programs put into landing',
  'run ~/Downloads/stedi            all files in a folder tree; customer, accelerometer or step_trainer in a path names the table',
  'run --set consentFrom=consent-date --json',
  'run --expect published           fail unless the counts match the published reference',
]).action((sources: string[]) =>
  act(
    async (context) => (await import('./commands/run.ts')).run(context, sources),
    async (context) => (await import('./stage/run.ts')).run(context, sources),
  ),
);

command('drop <table> <file...>', 'put files into one landing folder', [
  'drop customer_landing new-customers.json',
  'drop accelerometer_landing *.json.gz',
]).action((table: string, files: string[]) =>
  act(
    async (context) => (await import('./commands/drop.ts')).drop(context, table, files),
    async (context) => (await import('./stage/drop.ts')).drop(context, table, files),
  ),
);

command('watch', 'keep running and process whatever arrives in the landing folders, until Ctrl-C', [
  'watch',
  'watch --set settleSeconds=10',
  'watch --json >> runs.jsonl',
]).action(() => act(async (context) => (await import('./commands/watch.ts')).watch(context)));

command('runs', 'history, the latest run first', ['runs', 'runs --limit 1', 'runs --json'])
  .option('--limit <n>', 'how many of the latest to show', limitOf, 100)
  .action(({ limit }: { limit: number }) =>
    act(
      async (context) => (await import('./commands/history.ts')).runs(context, limit),
      async (context) => (await import('./stage/history.ts')).runs(context, limit),
    ),
  );

command('show <run>', 'one run: its files, steps, counts, expectations and timings', [
  'show last',
  'show run-20261121-101500-a1b2c3 --json',
]).action((run: string) =>
  act(
    async (context) => (await import('./commands/history.ts')).show(context, run),
    async (context) => (await import('./stage/history.ts')).show(context, run),
  ),
);

command('files', 'the ledger: every file version with its state, run, records and rejects', ['files', 'files --state held'])
  .option('--state <state>', 'only pending, claimed, loaded or held files')
  .action(({ state }: { state?: string }) =>
    act(
      async (context) => (await import('./commands/files.ts')).files(context, state),
      async (context) => (await import('./stage/files.ts')).files(context, state),
    ),
  );

command('rejects', 'rejected records with file, line and reason, including those of failed runs', [
  'rejects',
  'rejects --run run-20261121-101500-a1b2c3',
  'rejects --export mended',
])
  .option('--run <run>', 'only those of one run')
  .option('--export <dir>', 'write them to files, one for each landing file, to be fixed and dropped again')
  .action(({ run, export: folder }: { run?: string; export?: string }) =>
    act(
      async (context) => (await import('./commands/rejects.ts')).rejects(context, run, folder),
      async (context) => (await import('./stage/rejects.ts')).rejects(context, run, folder),
    ),
  );

command('retry [file...]', 'held files go back to pending', [
  'retry customer_landing/odd.json',
  'retry --run run-20261121-101500-a1b2c3',
])
  .option('--run <run>', 'all files that this run left held')
  .action((files: string[], { run }: { run?: string }) =>
    act(
      async (context) => (await import('./commands/retry.ts')).retry(context, files, run),
      async (context) => (await import('./stage/retry.ts')).retry(context, files, run),
    ),
  );

command(
  'rebuild',
  'rebuild every table from landing and compare it with the lake’s; exit code 1 if they differ and nothing is replaced, or a file is held or not read',
  [
    'rebuild',
    'rebuild --replace                even if the tables are lost or damaged',
    'rebuild --set maxRejectRatio=1   if you raised a limit to load a file, raise it here too',
  ],
)
  .option('--replace', 'replace the tables with the rebuilt ones', false)
  .option('--forget', 'with --replace: even if that loses withdrawals, or records whose files are gone from landing', false)
  .action((flags: RebuildFlags) => act(async (context) => (await import('./commands/rebuild.ts')).rebuild(context, flags)));

command('query <sql>', 'read-only SQL over all tables', [
  'query "select reason, count(*) from rejected group by 1"',
  'query "select * from machine_learning_curated limit 5" --json',
  'query "from machine_learning_curated order by all" --out training.parquet',
  'query "$(cat glue/counts/consents_in_doubt.sql)"',
])
  .option('--out <file>', 'write the rows, however many, to a .parquet or .csv file; on one machine only')
  .action((sql: string, { out }: { out?: string }) =>
    act(
      async (context) => (await import('./commands/query.ts')).query(context, sql, out),
      async (context) => (await import('./stage/query.ts')).query(context, sql, out),
    ),
  );

command('graph', 'the state machine with its steps, as text', ['graph']).action(() =>
  act(async (context) => (await import('./commands/graph.ts')).graph(context)),
);

command('generate', 'sample data in the shape of the real data; the same seed gives the same data', [
  'generate --out sample                           the published counts exactly',
  'generate --out sample --customers 20000         the same proportions, larger',
  'generate --out sample --dirty --seed 7          with every kind of defect mixed in',
])
  .requiredOption('--out <dir>', 'where to write the landing folders')
  .option('--customers <n>', 'how many customers', numberOf, 956)
  .option('--seed <s>', 'another seed gives other data with the same counts', numberOf, 1)
  .option('--dirty', 'mix in every kind of defect (a 20 MB line from 5,000 customers on), and say how many of each', false)
  .action((flags: GenerateOptions) => act(async (context) => (await import('./commands/generate.ts')).generate(context, flags)));

command('check', 'is this lake healthy: conservation, audits, ledger against tables, nothing half done', [
  'check',
  'check --json',
  'check --stage dev --scan         reads the tables through Athena too, which costs what it scans',
])
  .option('--scan', 'with --stage: read the tables too; on one machine they always are', false)
  .action(({ scan }: { scan: boolean }) =>
    act(
      async (context) => (await import('./commands/check.ts')).check(context),
      async (context) => (await import('./stage/check.ts')).check(context, scan),
    ),
  );

// Neither a reader that stops early (`stedi run | head`), which is no error, nor a full disk behind the output may leave a run half done.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') return;
    process.exitCode = 1;
    if (stream === process.stdout) console.error(`The output can't be written: ${error.message}`);
  });
}

// SQL that begins with a comment, as all of glue/ does, is no option.
const asksSql = process.argv.includes('query');
const typed = process.argv.map((argument) => (asksSql && /^--\s/.test(argument) ? `\n${argument}` : argument));

try {
  await program.parseAsync(typed);
} catch (error) {
  const isHelp = error instanceof CommanderError && error.exitCode === 0;
  const isUsage = error instanceof CommanderError || error instanceof UsageError;
  process.exitCode = isHelp ? 0 : isUsage ? 2 : error instanceof LakeBusyError ? BUSY : 1;
  const text = explained(error, program.opts<CommonOptions>());
  // Commander has already printed its errors. With --json, standard output gets one value whatever happens.
  if (!(error instanceof CommanderError)) console.error(printable(text));
  if (!isHelp && output.json && !output.hasResult) console.log(JSON.stringify({ error: text }));
  if (process.env['STEDI_DEBUG'] === '1') console.error(error);
}
