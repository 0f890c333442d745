// A gzip file (RFC 1952): one member after another, each with its own header and checksum. Node's gunzip is not used, because it
// silently drops what follows a zero byte after a member.
import { crc32, inflateRawSync } from 'node:zlib';

const HEADER_BYTES = 10;
const TRAILER_BYTES = 8;
const HAS_CHECKSUM = 2;
const HAS_EXTRA = 4;
const HAS_NAME = 8;
const HAS_COMMENT = 16;
const RESERVED = 0xe0;

export function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

/** The decompressed file, or nothing when it can't be decompressed to its end. Zero bytes at the very end are padding. */
export function gunzip(bytes: Uint8Array): Uint8Array | undefined {
  const parts: Uint8Array[] = [];
  let rest = bytes;
  do {
    const member = firstMember(rest);
    if (member === undefined) return undefined;
    parts.push(member.content);
    rest = rest.subarray(member.length);
  } while (rest.some((byte) => byte !== 0));
  return Buffer.concat(parts);
}

function firstMember(bytes: Uint8Array): { content: Uint8Array; length: number } | undefined {
  const dataFrom = headerLength(bytes);
  if (dataFrom === undefined) return undefined;
  const inflated = inflate(bytes.subarray(dataFrom));
  if (inflated === undefined) return undefined;
  const trailerFrom = dataFrom + inflated.read;
  if (trailerFrom + TRAILER_BYTES > bytes.length) return undefined;
  const trailer = new DataView(bytes.buffer, bytes.byteOffset + trailerFrom, TRAILER_BYTES);
  const sound =
    trailer.getUint32(0, true) === crc32(inflated.content) && trailer.getUint32(4, true) === inflated.content.length % 2 ** 32;
  return sound ? { content: inflated.content, length: trailerFrom + TRAILER_BYTES } : undefined;
}

function headerLength(bytes: Uint8Array): number | undefined {
  const flags = bytes[3];
  const deflate = bytes[2] === 8;
  if (!isGzip(bytes) || flags === undefined || !deflate || (flags & RESERVED) !== 0) return undefined;
  let length = HEADER_BYTES;
  if (flags & HAS_EXTRA) length += 2 + (bytes[length] ?? 0) + 256 * (bytes[length + 1] ?? 0);
  if (flags & HAS_NAME) length = afterZero(bytes, length);
  if (flags & HAS_COMMENT) length = afterZero(bytes, length);
  if (flags & HAS_CHECKSUM) length += 2;
  return length <= bytes.length ? length : undefined;
}

function afterZero(bytes: Uint8Array, from: number): number {
  const zero = bytes.indexOf(0, from);
  return zero === -1 ? Number.POSITIVE_INFINITY : zero + 1;
}

function inflate(bytes: Uint8Array): { content: Uint8Array; read: number } | undefined {
  try {
    const result: unknown = inflateRawSync(bytes, { info: true });
    if (!isInflated(result)) throw new TypeError('node:zlib answered in another shape than it documents');
    return { content: result.buffer, read: result.engine.bytesWritten };
  } catch (error) {
    if (hasZlibCode(error)) return undefined;
    throw error;
  }
}

function isInflated(result: unknown): result is { buffer: Uint8Array; engine: { bytesWritten: number } } {
  if (typeof result !== 'object' || result === null || !('buffer' in result) || !('engine' in result)) return false;
  const { buffer, engine } = result;
  if (typeof engine !== 'object' || engine === null || !('bytesWritten' in engine)) return false;
  return ArrayBuffer.isView(buffer) && typeof engine.bytesWritten === 'number';
}

function hasZlibCode(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && String(error.code).startsWith('Z_');
}
