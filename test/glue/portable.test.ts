import path from 'node:path';
import { z } from 'zod';
import { contractOf, CONTRACTS, landingContractOf, modelContractOf } from '../../functions/core/contracts.ts';
import { LANDING_TABLES, MODEL_TABLES } from '../../functions/core/steps.ts';
import { createViews } from '../../local/duckdb/counts.ts';
import { openSession, rowsOf } from '../../local/duckdb/session.ts';
import type { Session } from '../../local/duckdb/session.ts';
import { ensureTables } from '../../local/duckdb/tables.ts';
import { sqlFiles } from '../../local/projectFiles.ts';
import { temporaryFolders } from '../support/folders.ts';

/**
 * What the SQL in glue/ must do without, because Spark SQL and DuckDB read it differently or only one of them reads it. `example` is
 * a text in which the rule fires. Comments are removed and text literals emptied before a pattern is tried.
 */
const FORBIDDEN: readonly { rule: string; pattern: RegExp; example: string }[] = [
  {
    rule: 'QUALIFY: Spark has none; use row_number() in a subquery',
    pattern: /\bqualify\b/,
    example: 'select a from t qualify row_number() over () = 1',
  },
  {
    rule: 'max_by and the like treat NULL differently',
    pattern: /\b(?:max_by|min_by|arg_max|arg_min|any_value|first|last|first_value|last_value|mode)\s*\(/,
    example: 'select max_by(a, b) from t',
  },
  {
    rule: 'SEMI and ANTI joins are spelled differently; use EXISTS',
    pattern: /\b(?:semi|anti)\b/,
    example: 'select a from t left anti join u on u.a = t.a',
  },
  {
    rule: 'other joins of one engine',
    pattern: /\b(?:asof|positional|lateral|natural)\b/,
    example: 'select a from t asof join u on t.a >= u.a',
  },
  { rule: 'casts that try, or with ::', pattern: /\btry_cast\b|\bsafe_cast\b|::/, example: 'select a::BIGINT from t' },
  {
    rule: 'a cast of a fraction rounds in one engine and cuts in the other; floor() first',
    pattern: /\bcast\s*\([^()]*[/*][^()]*\bas\s+bigint/,
    example: 'select cast(a / 2 as BIGINT) from t',
  },
  {
    rule: 'types by other names than STRING, BIGINT, DOUBLE, DATE',
    pattern:
      /\b(?:varchar|char|text|int|integer|int4|int8|smallint|tinyint|hugeint|float|real|float8|decimal|numeric|timestamptz|boolean|binary|blob)\b/,
    example: 'select cast(a as VARCHAR) from t',
  },
  { rule: 'concat() treats NULL differently; use ||', pattern: /\bconcat\s*\(/, example: "select concat(a, 'b') from t" },
  {
    rule: 'literals with a decimal point are decimals in one engine; cast(1 as DOUBLE)',
    pattern: /(?<![\w.])\d*\.\d+|(?<![\w.])\d+\.(?!\w)/,
    example: 'select a * 1.0 from t',
  },
  {
    rule: 'user without its table is the session’s user where the table has no such column',
    pattern: /(?<!\.)\buser\b/,
    example: 'select user from t',
  },
  { rule: 'quoted names', pattern: /[`"]/, example: 'select "user" from t' },
  {
    rule: 'letter case outside ASCII differs; use translate()',
    pattern: /\b(?:lower|upper|initcap|ilike)\b/,
    example: 'select lower(a) from t',
  },
  {
    rule: 'blanks that trim() takes differ; list the characters',
    pattern: /\b(?:ltrim|rtrim)\s*\(|\btrim\s*\(\s*[\w.]+\s*\)/,
    example: 'select trim(a) from t',
  },
  {
    rule: 'columns are named, one by one',
    pattern: /(?<!count\(\s*)\*\s*(?:,|from\b|exclude\b|replace\b|except\b|$)|\.\*|\bselect\s+(?:distinct\s+)?\*/,
    example: 'select * from t',
  },
  {
    rule: 'ALL in place of columns',
    pattern: /\b(?:group|order)\s+by\s+all\b/,
    example: 'select a, count(*) from t group by all',
  },
  {
    rule: 'positions in place of columns',
    pattern: /\b(?:group|order)\s+by\s+\d/,
    example: 'select a, count(*) from t group by 1',
  },
  { rule: 'DISTINCT ON', pattern: /\bdistinct\s+on\b/, example: 'select distinct on (a) a, b from t' },
  { rule: 'FROM before SELECT', pattern: /(?:^|\()\s*from\b/, example: 'from t select a' },
  {
    rule: 'lists and structs',
    pattern:
      /[[\]{}]|\b(?:struct_pack|unnest|explode|list|array|array_agg|collect_list|collect_set|string_agg|listagg|group_concat)\s*\(/,
    example: 'select [1, 2][1] from t',
  },
  {
    rule: 'PIVOT, SAMPLE and other statements of one engine',
    pattern: /\b(?:pivot|unpivot|tablesample|sample|distribute\s+by|cluster\s+by|sort\s+by|summarize)\b/,
    example: 'select a from t tablesample (10 percent)',
  },
  {
    rule: 'patterns are written differently',
    pattern: /\b(?:rlike|regexp\w*|similar\s+to|glob)\b|~/,
    example: "select a from t where a rlike 'x'",
  },
  {
    rule: 'equality with NULL has one spelling: IS [NOT] DISTINCT FROM',
    pattern: /<=>|\bisnull\b|\bnotnull\b/,
    example: 'select a from t where a <=> b',
  },
  {
    rule: 'coalesce() is the one spelling',
    pattern: /\b(?:nvl|nvl2|ifnull|iff|iif|decode|if)\s*\(/,
    example: 'select nvl(a, 0) from t',
  },
  { rule: 'whole division has no common sign', pattern: /\/\/|\bdiv\b/, example: 'select a // 2 from t' },
  {
    rule: 'the outcome must follow from the tables alone',
    pattern: /\b(?:now|random|rand|uuid|current_timestamp|current_date|getdate|localtimestamp)\b/,
    example: 'select a from t where a < now()',
  },
  {
    rule: 'functions and literals of time differ',
    pattern:
      /\b(?:interval|date_add|date_diff|datediff|date_trunc|epoch_ms|to_timestamp|timestamp_millis|make_timestamp\w*|strftime|date_format|extract)\b/,
    example: "select a + interval '1' day from t",
  },
  { rule: 'JSON functions differ', pattern: /\b(?:\w*json\w*)\s*\(|->/, example: "select get_json_object(a, 'x') from t" },
  {
    rule: 'hash functions differ, but for md5',
    pattern: /\b(?:hash|xxhash64|sha1|sha2|sha256|crc32)\s*\(/,
    example: 'select hash(a) from t',
  },
  {
    rule: 'bare table names: each engine sets its catalog',
    pattern: /(?<!\bdistinct\s+)\b(?:from|join)\s+\w+\.\w+/,
    example: 'select a from lake.stedi.t',
  },
  {
    rule: 'one SELECT, without a semicolon',
    pattern: /;|\b(?:insert|update|delete|create|drop|merge|set|pragma)\b/,
    example: 'select a from t; select b from t',
  },
];

const LITERAL = /'(?:[^'\\]|''|\\.)*'/gs;

/** The rules of the portable subset that an SQL text breaks. */
function brokenRules(sql: string): string[] {
  const code = sql.replace(/--[^\n]*/g, '');
  const literals = code.match(LITERAL) ?? [];
  const bare = code.replace(LITERAL, "''").toLowerCase().trim();
  return [
    ...(literals.some((literal) => /''|\\/.test(literal.slice(1, -1))) ? ['a quote or backslash inside a literal'] : []),
    ...(sortTerms(bare).every((term) => /\bnulls\s+(?:first|last)$/.test(term)) ? [] : ['ORDER BY without NULLS FIRST or LAST']),
    ...FORBIDDEN.filter(({ pattern }) => pattern.test(bare)).map(({ rule }) => rule),
  ];
}

/** What follows ORDER BY up to the end of its bracket, term by term. */
function sortTerms(sql: string): string[] {
  return [...sql.matchAll(/\border\s+by\b/g)].flatMap(({ index, 0: words }) => {
    const terms = [''];
    let depth = 0;
    for (const char of sql.slice(index + words.length)) {
      if (char === '(') depth += 1;
      if (char === ')') depth -= 1;
      if (depth < 0) break;
      if (char === ',' && depth === 0) terms.push('');
      else terms.push(`${terms.pop() ?? ''}${char}`);
    }
    return terms.map((term) => term.replace(/\s+(?:limit|rows|range|union|except|intersect)\b.*$/s, '').trim());
  });
}

const FOLDERS = ['models', 'audits', 'counts', 'excepted'] as const;
const FILES = FOLDERS.flatMap((folder) =>
  [...sqlFiles(folder)].map(([name, sql]) => [`glue/${folder}/${name}.sql`, sql] as const),
);

describe('the checker', () => {
  test.each(FORBIDDEN.map(({ rule, example }) => [rule, example] as const))('fires: %s', (rule, example) => {
    expect(brokenRules(example)).toContain(rule);
  });

  test.each([["select a from t where a = 'it''s'"], ["select a from t where a = 'a\\nb'"]])(
    'fires on a quote or backslash inside a literal: %s',
    (sql) => {
      expect(brokenRules(sql)).toEqual(['a quote or backslash inside a literal']);
    },
  );

  test.each([
    ['select a from t order by a'],
    ['select a from t order by a desc, b nulls last'],
    ['select a from t order by a nulls first, b limit 3'],
    ['select row_number() over (partition by a order by b) as place from t'],
    ['select row_number() over (order by coalesce(a, 1), b nulls last) as place from t'],
  ])('fires on an order that leaves open where NULL goes: %s', (sql) => {
    expect(brokenRules(sql)).toEqual(['ORDER BY without NULLS FIRST or LAST']);
  });

  test.each([
    ["select a, count(*) as rows from t where b = 'select * from lower(x) ;' group by a"],
    ['-- select * from t; lower("x") 1.0\nselect a from t'],
    ['select row_number() over (partition by a order by b desc nulls last, coalesce(c, 0) nulls first) as place from t'],
    ['select cast(sum(a) as BIGINT) as a, cast(floor(b) as BIGINT) as b, cast(1 as DOUBLE) as c from t'],
    ["select a || 'x' as a, md5(concat_ws('|', a, b)) as h from t left join u on u.a is not distinct from t.a"],
    ['select count(*) filter (where a > 0) as n from t having count(*) > 1'],
    ['select t.user, t.timestamp, (a + b) * 2 as c from t where not exists (select 1 from u where u.a = t.a)'],
    ["select translate(a, 'ABC', 'abc') as a, trim(both ' x' from b) as b from t limit 10"],
  ])('takes %s', (sql) => {
    expect(brokenRules(sql)).toEqual([]);
  });

  test('breaks no line twice: every rule has its own name', () => {
    expect(new Set(FORBIDDEN.map(({ rule }) => rule)).size).toBe(FORBIDDEN.length);
  });
});

describe('what defines, audits and counts tables', () => {
  test('is there', () => {
    for (const folder of ['models', 'audits', 'counts'] as const) expect(sqlFiles(folder).size).toBeGreaterThan(3);
    expect([...sqlFiles('excepted').keys()]).toEqual(['devices', 'people']);
  });

  test.each(FILES)('%s is portable', (_, sql) => {
    expect(brokenRules(sql)).toEqual([]);
  });

  test.each(FILES)('%s says first what a row of it is', (name, sql) => {
    expect(sql).toMatch(name.startsWith('glue/audits/') ? /^-- A row is / : /^-- Grain: one row/);
  });

  test.each(FILES)('%s has no select *', (_, sql) => {
    expect(sql).not.toMatch(/select\s+(?:\w+\.)?\*/i);
  });
});

describe('contracts', () => {
  test('call a column personal wherever it is, but for the pseudonym of machine_learning_curated', () => {
    const PERSONAL = new Set(['customername', 'email', 'user', 'phone', 'birthday', 'serialnumber', 'record']);
    for (const { table, columns } of CONTRACTS)
      for (const { name, pii } of columns)
        expect([table, name, pii === true]).toEqual([table, name, PERSONAL.has(name) && table !== 'machine_learning_curated']);
  });

  test('cut readings by days, and sort by who and when', () => {
    const cut = CONTRACTS.flatMap((contract) =>
      'partition' in contract ? [`${contract.table}: ${contract.partition}, ${contract.sort?.join(', ')}`] : [],
    );
    expect(cut).toEqual([
      'accelerometer_staging: reading_date, user, timestamp',
      'step_trainer_staging: reading_date, serialnumber, sensorreadingtime',
      'accelerometer_trusted: reading_date, user, timestamp',
      'step_trainer_trusted: reading_date, email, sensorreadingtime',
      'machine_learning_curated: reading_date, serialnumber, sensorreadingtime',
    ]);
  });

  test('say by what rows may go', () => {
    const leaves = MODEL_TABLES.map((table) => [table, ...Object.values(modelContractOf(table).leavesWith)].join(' '));
    expect(leaves).toEqual([
      'customer_trusted people email',
      'accelerometer_trusted people user',
      'customers_curated people email',
      'step_trainer_trusted devices serialnumber',
      'machine_learning_curated devices serialnumber',
    ]);
  });
});

describe('the columns of a model', () => {
  const newFolder = temporaryFolders();
  let session: Session;
  beforeAll(async () => {
    const folder = newFolder();
    session = await openSession(path.join(folder, 'tables.duckdb'), folder);
    await ensureTables(session.connection);
    await createViews(session.connection, { mlJoin: 'person-and-time', consentFrom: 'any-time' });
  });
  afterAll(() => session.close());

  async function columnsOf(model: string): Promise<{ name: string; type: string }[]> {
    const row = z.object({ column_name: z.string(), column_type: z.string() });
    const rows = await rowsOf(session.connection, `describe ${sqlFiles('models').get(model) ?? ''}`, row);
    return rows.map(({ column_name: name, column_type: type }) => ({ name, type: type === 'VARCHAR' ? 'STRING' : type }));
  }

  function contractColumns(table: Parameters<typeof contractOf>[0]): { name: string; type: string }[] {
    return contractOf(table).columns.map(({ name, type }) => ({ name, type }));
  }

  test.each(MODEL_TABLES)('%s are those of its contract, by name and type', async (table) => {
    expect(await columnsOf(table)).toEqual(contractColumns(table));
  });

  test.each(LANDING_TABLES)('of what %s feeds have its names and the types of its rules', (table) => {
    const TYPES = { text: 'STRING', email: 'STRING', integer: 'BIGINT', time: 'BIGINT', consent: 'BIGINT', double: 'DOUBLE' };
    const { feeds, columns, time } = landingContractOf(table);
    expect(contractColumns(feeds)).toEqual([
      ...columns.map(({ name, rule }) => ({ name, type: TYPES[rule] })),
      ...(time === undefined ? [] : [{ name: 'reading_date', type: 'DATE' }]),
    ]);
  });

  test('of the view current_customer are those of staging', async () => {
    expect(await columnsOf('current_customer')).toEqual(contractColumns('customer_staging'));
  });

  test('for machine learning lead to no person and tell nothing of the run', async () => {
    const { columns } = contractOf('machine_learning_curated');
    expect(columns.filter(({ pii }) => pii === true)).toEqual([]);
    expect((await columnsOf('machine_learning_curated')).map(({ name }) => name)).toEqual([
      'serialnumber',
      'sensorreadingtime',
      'reading_date',
      'distancefromobject',
      'x',
      'y',
      'z',
    ]);
  });
});
