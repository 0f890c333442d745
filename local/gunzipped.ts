import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';

/** The content of gzipped bytes, of all members; throws what reading or unpacking them meets. */
export async function* gunzipped(packed: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  // pipeline passes read errors on to what is unpacked.
  for await (const chunk of pipeline(packed, createGunzip(), () => undefined)) if (chunk instanceof Uint8Array) yield chunk;
}
