import { EntityNotFoundException, GetTableCommand } from '@aws-sdk/client-glue';
import type { GlueClient } from '@aws-sdk/client-glue';
import { GetObjectCommand, NoSuchKey } from '@aws-sdk/client-s3';
import type { S3Client } from '@aws-sdk/client-s3';
import { z } from 'zod';
import { LakeUnusableError } from '../core/errors.ts';
import { manifestSchema, readRunFile } from '../core/runFiles.ts';
import { PUBLISHED_TABLES } from '../core/steps.ts';
import type { PublishedTable } from '../core/steps.ts';
import type { PublishedLake, PublishedRun, RunFiles } from '../ports.ts';
import type { JobRuns } from './jobRuns.ts';
import { inParallel } from '../core/parallel.ts';

/**
 * The parts of an Iceberg table's metadata that are used here (https://iceberg.apache.org/spec/#table-metadata). Snapshot ids have 64 bits; as
 * numbers they lose their last digits, but every mention of an id loses the same ones.
 */
const metadataSchema = z.object({
  refs: z.record(z.string(), z.object({ 'snapshot-id': z.number() })).default({}),
  snapshots: z
    .array(
      z.object({
        'snapshot-id': z.number(),
        'parent-snapshot-id': z.number().nullish(),
        summary: z.record(z.string(), z.string()).default({}),
      }),
    )
    .default([]),
});
type Metadata = z.infer<typeof metadataSchema>;
type Snapshot = Metadata['snapshots'][number];

/** For a manifest that an earlier version of the service may have written. */
const definitionSchema = manifestSchema.pick({ definition: true }).loose();

const LAST_TABLE = 'machine_learning_curated' satisfies PublishedTable;
const RUN_PROPERTY = 'run-id';

/** The published tables: Iceberg on S3, found through the Glue Data Catalog. What their branch `main` holds is what everybody sees. */
export class VisibleLake implements Pick<PublishedLake, 'publishedRun' | 'counts' | 'publishesAtOnce'> {
  /** Each table has a `main` of its own. */
  readonly publishesAtOnce = false;
  readonly #glue: GlueClient;
  readonly #s3: S3Client;
  readonly #database: string;
  readonly #runFiles: RunFiles;

  constructor(glue: GlueClient, s3: S3Client, database: string, runFiles: RunFiles) {
    this.#glue = glue;
    this.#s3 = s3;
    this.#database = database;
    this.#runFiles = runFiles;
  }

  async publishedRun(): Promise<PublishedRun | null> {
    const metadata = await this.#metadata(LAST_TABLE);
    const runId = metadata === null ? null : runOf(metadata);
    if (runId === null) return null;
    const manifest = await readRunFile(this.#runFiles, runId, 'manifest.json', definitionSchema);
    // If somebody removed the manifest, it is unknown what the tables were built from: they are built again.
    return { runId, definition: manifest?.definition ?? 'unknown' };
  }

  async counts(): Promise<Record<PublishedTable, number>> {
    const counts = await inParallel(PUBLISHED_TABLES, async (table) => {
      const metadata = await this.#metadata(table);
      const main = metadata === null ? undefined : mainOf(metadata);
      return [table, main === undefined ? 0 : totalRecords(table, main)] as const;
    });
    return z.record(z.enum(PUBLISHED_TABLES), z.number()).parse(Object.fromEntries(counts));
  }

  /** Null if the table was never created. */
  async #metadata(table: PublishedTable): Promise<Metadata | null> {
    const location = await this.#metadataLocation(table);
    if (location === null) return null;
    const { bucket, key } = placeOf(table, location);
    try {
      const { Body } = await this.#s3.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
      return metadataSchema.parse(JSON.parse((await Body?.transformToString()) ?? 'null'));
    } catch (error) {
      if (!(error instanceof NoSuchKey)) throw error;
      throw new LakeUnusableError(
        `${table}: its metadata ${location} are missing; restore the object, or point the table to an older one`,
      );
    }
  }

  async #metadataLocation(table: PublishedTable): Promise<string | null> {
    try {
      const { Table } = await this.#glue.send(new GetTableCommand({ DatabaseName: this.#database, Name: table }));
      return Table?.Parameters?.['metadata_location'] ?? null;
    } catch (error) {
      if (error instanceof EntityNotFoundException) return null;
      throw error;
    }
  }
}

/** The published tables, plus the job that finishes an interrupted publish. */
export class GlueLake extends VisibleLake implements PublishedLake {
  readonly #jobRuns: JobRuns;

  constructor(glue: GlueClient, s3: S3Client, database: string, runFiles: RunFiles, jobRuns: JobRuns) {
    super(glue, s3, database, runFiles);
    this.#jobRuns = jobRuns;
  }

  async resumePublish(runId: string, fence: number): Promise<void> {
    await this.#jobRuns.run('publish', runId, fence);
  }
}

function mainOf({ refs, snapshots }: Metadata): Snapshot | undefined {
  const id = refs['main']?.['snapshot-id'];
  return snapshots.find((snapshot) => snapshot['snapshot-id'] === id);
}

/** The run that made what `main` holds. Compaction by a person adds a snapshot that has no run and the same rows as the one before. */
function runOf(metadata: Metadata): string | null {
  const byId = new Map(metadata.snapshots.map((snapshot) => [snapshot['snapshot-id'], snapshot]));
  for (let snapshot = mainOf(metadata); snapshot !== undefined; snapshot = byId.get(snapshot['parent-snapshot-id'] ?? -1)) {
    const runId = snapshot.summary[RUN_PROPERTY];
    if (runId !== undefined) return runId;
    if (snapshot.summary['operation'] !== 'replace') return null;
  }
  return null;
}

function totalRecords(table: string, { summary }: Snapshot): number {
  const total = summary['total-records'];
  if (total === undefined || !/^\d+$/.test(total))
    throw new LakeUnusableError(
      `${table}: its snapshot has no total-records; run "stedi query" to count it, and find out who wrote it`,
    );
  return Number(total);
}

function placeOf(table: string, location: string): { bucket: string; key: string } {
  const [, bucket, key] = /^s3[an]?:\/\/([^/]+)\/(.+)$/.exec(location) ?? [];
  if (bucket === undefined || key === undefined)
    throw new LakeUnusableError(`${table}: its metadata are at ${location}; expected s3://bucket/key`);
  return { bucket, key };
}
