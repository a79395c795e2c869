/** One receipt in a computer's ring. Durations in milliseconds; null where unknown. */
export interface Receipt {
  /** Fleet instant. */
  readonly receivedAt: number;
  readonly latenessMs: number | null;
  readonly clockOffsetMs: number | null;
  readonly latencyMs: number | null;
}

/** How many receipts a ring keeps; 1,600 bytes stay below PostgreSQL's limit for moving a value out of its row. */
export const RING_RECEIPTS = 100;
/** 6 bytes instant, 4 lateness, 4 offset, 2 latency; big-endian. */
export const RECEIPT_BYTES = 16;

const UNKNOWN_32 = -0x8000_0000;
const LARGEST_32 = 0x7fff_ffff;
const UNKNOWN_16 = 0xffff;

export function packReceipts(receipts: readonly Receipt[]): Buffer {
  const bytes = Buffer.alloc(receipts.length * RECEIPT_BYTES);
  for (const [index, { receivedAt, latenessMs, clockOffsetMs, latencyMs }] of receipts.entries()) {
    const at = index * RECEIPT_BYTES;
    bytes.writeUIntBE(Math.max(0, Math.floor(receivedAt)), at, 6);
    bytes.writeInt32BE(toInt32(latenessMs), at + 6);
    bytes.writeInt32BE(toInt32(clockOffsetMs), at + 10);
    bytes.writeUInt16BE(latencyMs === null ? UNKNOWN_16 : clamp(latencyMs, 0, UNKNOWN_16 - 1), at + 14);
  }
  return bytes;
}

/** Oldest first; a torn rest is left out. */
export function unpackReceipts(ring: Buffer): Receipt[] {
  const receipts: Receipt[] = [];
  for (let at = 0; at + RECEIPT_BYTES <= ring.length; at += RECEIPT_BYTES) {
    const latency = ring.readUInt16BE(at + 14);
    receipts.push({
      receivedAt: ring.readUIntBE(at, 6),
      latenessMs: fromInt32(ring.readInt32BE(at + 6)),
      clockOffsetMs: fromInt32(ring.readInt32BE(at + 10)),
      latencyMs: latency === UNKNOWN_16 ? null : latency,
    });
  }
  return receipts;
}

function toInt32(value: number | null): number {
  return value === null ? UNKNOWN_32 : clamp(value, UNKNOWN_32 + 1, LARGEST_32);
}

function fromInt32(value: number): number | null {
  return value === UNKNOWN_32 ? null : value;
}

function clamp(value: number, low: number, high: number): number {
  return Math.round(Math.min(high, Math.max(low, value)));
}
