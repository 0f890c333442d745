import {
  AlreadyExistsException,
  ConcurrentModificationException,
  CreateTableCommand,
  EntityNotFoundException,
  GetTableCommand,
  UpdateTableCommand,
} from '@aws-sdk/client-glue';
import type { Column, GlueClient, Table, TableInput } from '@aws-sdk/client-glue';
import { landingContractOf, MOST_EXTRA_COLUMNS } from '../core/contracts.ts';
import type { LandingTable } from '../core/steps.ts';
import type { LandingTables } from '../ports.ts';
import { untilDone } from './untilDone.ts';

/** Glue takes names and comments of up to 255 characters. */
const LONGEST_TEXT = 255;

/**
 * The landing tables in the Glue Data Catalog: external JSON, every column text, as in `glue/ddl/<table>.sql`. An existing table only ever
 * gains columns, at the end: whatever people have changed about it (comments, parameters, columns of their own) stays as it is.
 */
export class GlueLandingTables implements LandingTables {
  readonly #client: GlueClient;
  readonly #database: string;
  readonly #landingBucket: string;

  constructor(client: GlueClient, database: string, landingBucket: string) {
    this.#client = client;
    this.#database = database;
    this.#landingBucket = landingBucket;
  }

  async ensure(table: LandingTable, extraColumns: readonly string[]): Promise<void> {
    const { columns } = landingContractOf(table);
    const contractColumns = columns.map(({ name, comment }) => ({ Name: name, Type: 'string', Comment: inDdl(comment) }));
    const extra = [...new Set(extraColumns.map((name) => name.slice(0, LONGEST_TEXT)))]
      .filter((name) => name !== '')
      .map((name) => ({ Name: name, Type: 'string', Comment: 'not in the contract: a file brought it' }));
    // Several files may bring columns at the same moment: the one that comes second looks again.
    await untilDone(`landing table ${table}`, () => this.#tryToEnsure(table, contractColumns, extra));
  }

  /** False if somebody else changed the table meanwhile. */
  async #tryToEnsure(table: LandingTable, contractColumns: readonly Column[], extra: readonly Column[]): Promise<boolean> {
    const there = await this.#find(table);
    if (there === null)
      return this.#create(table, [...contractColumns, ...missingOf(contractColumns, extra).slice(0, MOST_EXTRA_COLUMNS)]);
    const { Columns = [] } = there.StorageDescriptor ?? {};
    const taken = [...Columns, ...(there.PartitionKeys ?? [])];
    const missing = [...missingOf(taken, contractColumns), ...missingOf([...taken, ...contractColumns], extra)];
    const room = contractColumns.length + MOST_EXTRA_COLUMNS - Columns.length;
    const added = missing.slice(0, Math.max(room, 0));
    return added.length === 0 ? true : this.#update(there, [...Columns, ...added]);
  }

  async #find(table: LandingTable): Promise<Table | null> {
    try {
      const { Table } = await this.#client.send(new GetTableCommand({ DatabaseName: this.#database, Name: table }));
      return Table ?? null;
    } catch (error) {
      if (error instanceof EntityNotFoundException) return null;
      throw error;
    }
  }

  async #create(table: LandingTable, columns: Column[]): Promise<boolean> {
    const TableInput: TableInput = {
      Name: table,
      Description: inDdl(landingContractOf(table).grain),
      TableType: 'EXTERNAL_TABLE',
      Parameters: { EXTERNAL: 'TRUE', classification: 'json' },
      PartitionKeys: [],
      StorageDescriptor: {
        Columns: columns,
        Location: `s3://${this.#landingBucket}/${table}/`,
        InputFormat: 'org.apache.hadoop.mapred.TextInputFormat',
        OutputFormat: 'org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat',
        SerdeInfo: {
          SerializationLibrary: 'org.openx.data.jsonserde.JsonSerDe',
          Parameters: { 'case.insensitive': 'TRUE', 'ignore.malformed.json': 'TRUE' },
        },
      },
    };
    try {
      await this.#client.send(new CreateTableCommand({ DatabaseName: this.#database, TableInput }));
      return true;
    } catch (error) {
      if (error instanceof AlreadyExistsException) return false;
      throw error;
    }
  }

  /** Writes back what was read, with these columns, unless the table has changed since (VersionId). */
  async #update(table: Table, columns: Column[]): Promise<boolean> {
    const TableInput: TableInput = { ...inputOf(table), StorageDescriptor: { ...table.StorageDescriptor, Columns: columns } };
    try {
      await this.#client.send(new UpdateTableCommand({ DatabaseName: this.#database, TableInput, VersionId: table.VersionId }));
      return true;
    } catch (error) {
      if (error instanceof ConcurrentModificationException) return false;
      throw error;
    }
  }
}

/** Everything about a table that an update would otherwise remove; what Glue itself maintains (creation, versions) is not part of an update. */
function inputOf(table: Table): TableInput {
  const { Name, Description, Owner, LastAccessTime, LastAnalyzedTime, Retention, PartitionKeys } = table;
  const { ViewOriginalText, ViewExpandedText, TableType, Parameters, TargetTable } = table;
  return {
    Name,
    Description,
    Owner,
    LastAccessTime,
    LastAnalyzedTime,
    Retention,
    PartitionKeys,
    ViewOriginalText,
    ViewExpandedText,
    TableType,
    Parameters,
    TargetTable,
  };
}

/** The wanted columns that are not there yet; Glue's names are case-insensitive. */
function missingOf(there: readonly Column[], wanted: readonly Column[]): Column[] {
  const names = new Set(there.map(({ Name = '' }) => Name.toLowerCase()));
  return wanted.filter(({ Name = '' }) => !names.has(Name.toLowerCase()));
}

/** As the generated DDL writes it. */
function inDdl(text: string): string {
  return text.replaceAll("'", '’').slice(0, LONGEST_TEXT);
}
