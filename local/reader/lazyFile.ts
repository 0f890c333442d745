import { closeSync, openSync, rmSync, writeSync } from 'node:fs';

const PIECE = 1024 * 1024;

/** A file that exists only once something was written to it. It is written in pieces, each packed by `pack`. */
export class LazyFile {
  readonly path: string;
  readonly #pack: (piece: Buffer) => Buffer;
  #file = -1;
  #piece = Buffer.alloc(0);
  #filled = 0;

  constructor(path: string, pack: (piece: Buffer) => Buffer = (piece) => piece) {
    this.path = path;
    this.#pack = pack;
  }

  get isOpened(): boolean {
    return this.#file !== -1;
  }

  /** The bytes may be overwritten afterwards. */
  write(bytes: Buffer): void {
    if (this.#file === -1) {
      rmSync(this.path, { force: true });
      this.#file = openSync(this.path, 'w');
      this.#piece = Buffer.allocUnsafe(PIECE);
    }
    if (this.#filled + bytes.length > PIECE) this.#flush();
    if (bytes.length > PIECE) {
      this.#append(bytes);
    } else {
      bytes.copy(this.#piece, this.#filled);
      this.#filled += bytes.length;
    }
  }

  close(): void {
    if (this.#file === -1) return;
    try {
      this.#flush();
    } finally {
      closeSync(this.#file);
    }
  }

  #flush(): void {
    if (this.#filled > 0) this.#append(this.#piece.subarray(0, this.#filled));
    this.#filled = 0;
  }

  #append(piece: Buffer): void {
    const packed = this.#pack(piece);
    for (let at = 0; at < packed.length;) at += writeSync(this.#file, packed, at);
  }
}
