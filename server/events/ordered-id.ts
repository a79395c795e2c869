import type { Random } from '../../lib/random.js';

const COUNTER_LIMIT = 4096;

/**
 * A UUID of version 7 (RFC 9562): milliseconds, then a counter instead of the 12 random bits, then chance. Ids of one
 * instant sort by their index, so that what arrived together is listed in the order it was written.
 */
export function orderedId(instantMs: number, index: number, random: Random): string {
  const bytes = random.bytes(16);
  bytes.writeUIntBE(Math.max(0, Math.floor(instantMs)), 0, 6);
  bytes.writeUInt16BE(0x7000 | Math.min(index, COUNTER_LIMIT - 1), 6);
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
