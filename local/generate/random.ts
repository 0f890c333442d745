/** Scrambles 32 bits; a bijection, so different inputs stay different. (The finalizer of MurmurHash3.) */
export function scramble(bits: number): number {
  let h = bits | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Repeatable random numbers (sfc32): the same keys give the same numbers on every machine. */
export class Random {
  #a = 0;
  #b = 0;
  #c = 0;
  #counter = 1;

  /** @param keys non-negative safe integers: the seed, then what the numbers are for. */
  constructor(...keys: number[]) {
    for (const key of keys) {
      this.#a = scramble(this.#a ^ key);
      this.#b = scramble(this.#b + Math.floor(key / 2 ** 32) + this.#a);
      this.#c = scramble(this.#c ^ this.#b);
    }
    for (let warmUp = 0; warmUp < 12; warmUp += 1) this.next();
  }

  /** 32 random bits. */
  next(): number {
    const result = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + result) | 0;
    return result >>> 0;
  }

  /** An integer from 0 to `limit` − 1. */
  below(limit: number): number {
    return Math.floor((this.next() / 2 ** 32) * limit);
  }

  /** An integer from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True in `share` of the cases. */
  chance(share: number): boolean {
    return this.next() / 2 ** 32 < share;
  }

  /** Puts the items in a random order, in place. */
  shuffle(items: { length: number; [index: number]: number }): void {
    for (let last = items.length - 1; last > 0; last -= 1) {
      const other = this.below(last + 1);
      const kept = at(items, last);
      items[last] = at(items, other);
      items[other] = kept;
    }
  }
}

/** The item at an index that is known to be there. */
export function at<T>(items: ArrayLike<T>, index: number): T {
  const item = items[index];
  if (item === undefined) throw new RangeError(`no item at index ${index}: this is a bug in local/generate`);
  return item;
}
