/** Ids of our own making, so that a request that is sent twice is carried out once. */

const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** A ULID: 48 bits of time, 80 of chance. */
export function newUlid(nowMs: number, random: Uint8Array = crypto.getRandomValues(new Uint8Array(16))): string {
  let time = '';
  for (let rest = nowMs, index = 0; index < 10; index += 1) {
    time = DIGITS.charAt(rest % 32) + time;
    rest = Math.floor(rest / 32);
  }
  let chance = '';
  for (let index = 0; index < 16; index += 1) chance += DIGITS.charAt((random[index] as number) % 32);
  return time + chance;
}
