import type { DuckDBConnection } from '@duckdb/node-api';
import { z } from 'zod';
import type { LandingContract } from '../../functions/core/contracts.ts';
import { countOf, numbersOf, rowsOf, whole } from './session.ts';

/**
 * Removes arrived records that are already staged, and all but the first of those that arrived twice; returns how many of each
 * file. Equal records have equal hashes, so only records whose hash is seen twice are compared in full: usually none.
 * Among records of one identity that differ in other columns the smallest values win, whichever came first.
 */
export async function removeDuplicates(
  connection: DuckDBConnection,
  contract: LandingContract,
  arrived: string,
): Promise<Map<number, number>> {
  const { feeds } = contract;
  const identity = contract.identity.map((name) => `"${name}"`);
  const others = contract.columns
    .filter(({ name }) => !contract.identity.includes(name))
    .map(({ name }) => `"${name}" asc nulls first`);
  const hash = `hash(${identity.join(', ')})`;
  if (!(await seenTwice(connection, contract, arrived, hash))) return new Map();
  const [suspects, twins] = [`suspects_${contract.table}`, `twins_${contract.table}`];
  const same = `partition by ${identity.join(', ')}`;
  await connection.run(`
    create or replace temp table ${suspects} as
      select ${hash} as h from ${arrived} group by 1 having count(*) > 1
      union
      select ${hash} from ${feeds} where ${hash} in (select ${hash} from ${arrived});
    create or replace temp table ${twins} as
      select *,
        row_number() over (${same} order by file asc nulls first) = 1 as is_first,
        row_number() over (${same} order by ${[...others, 'file asc nulls first'].join(', ')}) = 1 as wins,
        bool_or(file is null) over (${same}) as is_staged
      from (
        from ${arrived} where ${hash} in (from ${suspects})
        union all by name
        select *, null::INTEGER as file from ${feeds} where ${hash} in (from ${suspects}));
    delete from ${arrived} where ${hash} in (from ${suspects});
    insert into ${arrived} by name select * exclude (is_first, wins, is_staged) from ${twins} where wins and not is_staged`);
  if (others.length > 0) {
    await connection.run(`
      delete from ${feeds} where ${hash} in (from ${suspects});
      insert into ${feeds} by name select * exclude (is_first, wins, is_staged, file) from ${twins} where wins and is_staged`);
  }
  return countsByFile(
    connection,
    `select file, count(*) as records from ${twins} where file is not null and not is_first group by file`,
  );
}

/** Whether any two records may be equal: two arrived ones, or an arrived and a staged one. */
async function seenTwice(
  connection: DuckDBConnection,
  { feeds, time }: LandingContract,
  arrived: string,
  hash: string,
): Promise<boolean> {
  // In two halves, since DuckDB scans uncommitted rows with one thread each.
  const halves = ['= 0', '= 1'].map((half) => `select ${hash} as h from ${arrived} where file % 2 ${half}`);
  const { repeated = 0 } = await numbersOf(
    connection,
    `select count(*) - count(distinct h) as repeated from (${halves.join(' union all ')})`,
  );
  if (repeated > 0) return true;
  if ((await countOf(connection, feeds)) === 0) return false;
  // Staged readings of other times can't be equal; DuckDB skips their row groups.
  const { earliest, latest } =
    time === undefined
      ? {}
      : await numbersOf(connection, `select min("${time}") as earliest, max("${time}") as latest from ${arrived}`);
  const within = time === undefined ? 'true' : `"${time}" between ${earliest} and ${latest}`;
  return (
    (await countOf(connection, `(from ${feeds} where ${within} and ${hash} in (select ${hash} from ${arrived}) limit 1)`)) > 0
  );
}

/** From `file` and `records`: how many records there are of each file. */
export async function countsByFile(connection: DuckDBConnection, sql: string): Promise<Map<number, number>> {
  const rows = await rowsOf(connection, sql, z.object({ file: whole, records: whole }));
  return new Map(rows.map(({ file, records }) => [file, records]));
}
