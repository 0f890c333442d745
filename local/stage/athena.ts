import { setTimeout } from 'node:timers/promises';
import {
  AthenaClient,
  GetQueryExecutionCommand,
  paginateGetQueryResults,
  StartQueryExecutionCommand,
} from '@aws-sdk/client-athena';
import type { ColumnInfo, Datum } from '@aws-sdk/client-athena';
import { CLIENT } from '../../functions/aws/clients.ts';
import { UsageError } from '../../functions/core/errors.ts';
import { figure } from '../../functions/core/textTable.ts';
import type { Stage } from './stage.ts';

interface Answer {
  /** If columns share a name, the later ones get a number: `email:1`. */
  names: string[];
  rows: Record<string, unknown>[];
}

const NUMBERS = new Set(['tinyint', 'smallint', 'integer', 'bigint', 'float', 'real', 'double']);
const LONGEST_PAUSE_MS = 2_000;

/**
 * Runs a query in the operators' workgroup.
 * @throws UsageError with Athena's objection to it, and for more rows than `most`
 */
export async function ask(
  { region, workgroup, database }: Pick<Stage, 'region' | 'workgroup' | 'database'>,
  sql: string,
  most = Infinity,
): Promise<Answer> {
  const client = new AthenaClient({ ...CLIENT, region });
  const { QueryExecutionId } = await client
    .send(
      new StartQueryExecutionCommand({ QueryString: sql, WorkGroup: workgroup, QueryExecutionContext: { Database: database } }),
    )
    .catch((error: unknown) => {
      if (error instanceof Error && error.name === 'InvalidRequestException') throw new UsageError(error.message);
      throw error;
    });
  const { hasHeader, file } = await queryEnded(client, QueryExecutionId);
  const answer: Answer = { names: [], rows: [] };
  let isFirst = hasHeader;
  for await (const { ResultSet } of paginateGetQueryResults({ client }, { QueryExecutionId })) {
    const columns = ResultSet?.ResultSetMetadata?.ColumnInfo ?? [];
    answer.names = distinct(columns.map(({ Name = '' }) => Name));
    for (const { Data = [] } of ResultSet?.Rows ?? []) {
      if (!isFirst) answer.rows.push(Object.fromEntries(answer.names.map((name, at) => [name, valueOf(columns[at], Data[at])])));
      isFirst = false;
    }
    if (answer.rows.length > most)
      throw new UsageError(
        `the answer has more than ${figure(most)} rows: see all of them in ${file ?? 'the results folder of the workgroup'}, or add a limit`,
      );
  }
  return answer;
}

/** Whether the first row of the result is a header, which only SELECT has; and the CSV file that Athena leaves. */
async function queryEnded(
  client: AthenaClient,
  QueryExecutionId: string | undefined,
): Promise<{ hasHeader: boolean; file: string | undefined }> {
  for (let pause = 100; ; pause = Math.min(pause * 1.5, LONGEST_PAUSE_MS)) {
    const { QueryExecution } = await client.send(new GetQueryExecutionCommand({ QueryExecutionId }));
    const { State, StateChangeReason = 'Athena gave no reason' } = QueryExecution?.Status ?? {};
    if (State === 'SUCCEEDED')
      return { hasHeader: QueryExecution?.StatementType === 'DML', file: QueryExecution?.ResultConfiguration?.OutputLocation };
    if (State === 'FAILED' || State === 'CANCELLED') throw new UsageError(`Athena: ${StateChangeReason}`);
    await setTimeout(pause);
  }
}

/** As DuckDB does it on one machine. */
function distinct(names: readonly string[]): string[] {
  const found = new Set<string>();
  return names.map((name) => {
    let unique = name;
    for (let number = 1; found.has(unique); number += 1) unique = `${name}:${number}`;
    found.add(unique);
    return unique;
  });
}

/** Athena returns text; numbers and truth values are converted. */
function valueOf(column: ColumnInfo | undefined, datum: Datum | undefined): unknown {
  const text = datum?.VarCharValue;
  if (text === undefined) return null;
  const Type = column?.Type;
  if (Type === 'boolean') return text === 'true';
  const number = Number(text);
  const exact = Type === 'bigint' ? Number.isSafeInteger(number) : Number.isFinite(number);
  return NUMBERS.has(Type ?? '') && exact ? number : text;
}
