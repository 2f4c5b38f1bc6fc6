/**
 * Reading and writing the standard layout of SPEC §3: varint integers, length-prefixed text, little-endian floats.
 *
 * Positions and epochs are u64 and stay `bigint`, because they are sent back to the server bit for bit; times become
 * `number`, whose 53 bits hold microseconds until the year 2255.
 */

/** A payload that ends inside a field, or holds a value that the layout does not allow. */
export class MalformedError extends Error {
  override name = 'MalformedError';
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();
const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

export class Reader {
  readonly #view: DataView;
  #at: number;
  readonly #end: number;

  constructor(buffer: ArrayBuffer, start: number, end: number) {
    this.#view = new DataView(buffer);
    this.#at = start;
    this.#end = end;
  }

  #take(bytes: number): number {
    const at = this.#at;
    if (bytes > this.#end - at) throw new MalformedError('the payload ends inside a field');
    this.#at = at + bytes;
    return at;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  bool(): boolean {
    const byte = this.u8();
    if (byte > 1) throw new MalformedError(`bool is ${byte}; allowed: 0 and 1`);
    return byte === 1;
  }

  /** `widest`: the longest form that fits the field's type; a longer one is malformed even if its value is small. */
  #varint(widest: 251 | 252 | 253): bigint {
    const first = this.u8();
    if (first < 251) return BigInt(first);
    if (first > widest) throw new MalformedError(`varint begins with ${first}; allowed: 0 to ${widest}`);
    if (first === 251) return BigInt(this.#view.getUint16(this.#take(2), true));
    if (first === 252) return BigInt(this.#view.getUint32(this.#take(4), true));
    return this.#view.getBigUint64(this.#take(8), true);
  }

  u16(): number {
    return Number(this.#varint(251));
  }

  u32(): number {
    return Number(this.#varint(252));
  }

  u64(): bigint {
    return this.#varint(253);
  }

  /** Microseconds or another i64, as the nearest number. */
  i64(): number {
    const raw = this.u64();
    return Number((raw >> 1n) ^ -(raw & 1n));
  }

  /** The number of a variant, checked against how many there are. */
  variant(count: number): number {
    const value = this.u32();
    if (value >= count) throw new MalformedError(`variant is ${value}; allowed: 0 to ${count - 1}`);
    return value;
  }

  f64(): number {
    return this.#view.getFloat64(this.#take(8), true);
  }

  /** A ULID as people and the HTTP API write it (SPEC §7.1): 128 bits in 26 characters of Crockford's base 32. */
  ulid(): string {
    const at = this.#take(16);
    let bits = (this.#view.getBigUint64(at) << 64n) | this.#view.getBigUint64(at + 8);
    let text = '';
    for (let index = 0; index < 26; index += 1) {
      text = CROCKFORD.charAt(Number(bits & 31n)) + text;
      bits >>= 5n;
    }
    return text;
  }

  optional<T>(read: () => T): T | null {
    return this.bool() ? read() : null;
  }

  /** Whether fields follow that a later version appended. */
  get more(): boolean {
    return this.#at < this.#end;
  }

  string(): string {
    const length = this.u32();
    const at = this.#take(length);
    try {
      return utf8.decode(new Uint8Array(this.#view.buffer as ArrayBuffer, at, length));
    } catch {
      throw new MalformedError('text is not UTF-8');
    }
  }

  list<T>(read: () => T): T[] {
    const length = this.u32();
    // Each element takes at least one byte, so a length beyond the payload cannot be meant and reserves nothing.
    if (length > this.#end - this.#at) throw new MalformedError('a list is longer than its payload');
    const items: T[] = [];
    for (let index = 0; index < length; index += 1) items.push(read());
    return items;
  }
}

export class Writer {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  #grow(bytes: number): number {
    const at = this.#length;
    this.#length += bytes;
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }

  u8(value: number): void {
    const at = this.#grow(1);
    this.#view.setUint8(at, value);
  }

  // `#grow` may replace the view, so it is called before the view is taken.
  u64(value: bigint): void {
    if (value < 251n) {
      this.u8(Number(value));
    } else if (value <= 0xffffn) {
      this.u8(251);
      const at = this.#grow(2);
      this.#view.setUint16(at, Number(value), true);
    } else if (value <= 0xffff_ffffn) {
      this.u8(252);
      const at = this.#grow(4);
      this.#view.setUint32(at, Number(value), true);
    } else {
      this.u8(253);
      const at = this.#grow(8);
      this.#view.setBigUint64(at, value, true);
    }
  }

  u32(value: number): void {
    this.u64(BigInt(value));
  }

  i64(value: bigint): void {
    this.u64(BigInt.asUintN(64, (value << 1n) ^ (value >> 63n)));
  }

  string(value: string): void {
    const bytes = encoder.encode(value);
    this.u32(bytes.length);
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
  }

  list<T>(items: readonly T[], write: (item: T) => void): void {
    this.u32(items.length);
    for (const item of items) write(item);
  }

  /** The bytes so far, behind a frame header of the given type (SPEC §2). */
  frame(type: number): Uint8Array<ArrayBuffer> {
    const frame = new Uint8Array(8 + this.#length);
    const view = new DataView(frame.buffer);
    view.setUint16(0, 0xabcd);
    view.setUint8(2, 1);
    view.setUint8(3, type);
    view.setUint32(4, this.#length);
    frame.set(this.#bytes.subarray(0, this.#length), 8);
    return frame;
  }
}
