import { createReadStream, createWriteStream, closeSync, openSync, readSync, statSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { codeOf } from '../systemErrors.ts';

const CHUNK = 1024 * 1024;

/** Whether a file's content is gzip, whatever its name. */
export function isGzip(path: string): boolean {
  const head = Buffer.alloc(2);
  const file = openSync(path, 'r');
  try {
    return readSync(file, head, 0, 2, 0) === 2 && head[0] === 0x1f && head[1] === 0x8b;
  } finally {
    closeSync(file);
  }
}

/** Decompresses a gzip file; false when it can't be decompressed to its end. */
export async function unpack(packed: string, unpacked: string): Promise<boolean> {
  const { size } = statSync(packed);
  const taken = await unpackMembers(packed, unpacked, size);
  // zlib stops at a zero byte after a member and ignores what follows; only padding is allowed.
  if (taken === null || !onlyZerosFrom(packed, taken)) return false;
  // But it is asked again for each piece of the file, and takes one that looks like a member: then zeros are among what it took.
  return taken === size || (await unpackMembers(packed, unpacked, taken)) === taken;
}

/** Decompresses the first bytes of a gzip file and returns how many of them were taken; null when they can't be decompressed. */
async function unpackMembers(packed: string, unpacked: string, bytes: number): Promise<number | null> {
  const gunzip = createGunzip();
  try {
    await pipeline(createReadStream(packed, { end: bytes - 1 }), gunzip, createWriteStream(unpacked));
  } catch (error) {
    // A whole member behind padding is unpacked after the end.
    if (/^Z_|^ERR_(?:BUFFER|ZLIB|STREAM_PUSH_AFTER_EOF)/.test(codeOf(error))) return null;
    throw error;
  }
  return gunzip.bytesWritten;
}

function onlyZerosFrom(path: string, offset: number): boolean {
  const file = openSync(path, 'r');
  try {
    const buffer = Buffer.allocUnsafe(CHUNK);
    for (let at = offset; ;) {
      const read = readSync(file, buffer, 0, CHUNK, at);
      if (read === 0) return true;
      if (buffer.subarray(0, read).some((byte) => byte !== 0)) return false;
      at += read;
    }
  } finally {
    closeSync(file);
  }
}
