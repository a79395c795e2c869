import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The end of the log that cannot be read: after a crash a write that was never answered for. LevelDB skips it without a word. */
export interface TornTail {
  readonly bytes: number;
  /** Of the write that was cut off, where its head is there. */
  readonly operations: number | null;
}

const BLOCK_BYTES = 32_768;
/** Checksum (4), length (2), type (1). */
const HEADER_BYTES = 7;
const TYPE = { full: 1, first: 2, middle: 3, last: 4 } as const;
/** A batch begins with a sequence number (8) and the count of its operations (4). */
const COUNT_AT = 8;
const BATCH_HEAD_BYTES = 12;

/** Looks at the log of a closed database (leveldb, doc/log_format.md); undefined where it ends as it should. */
export function findTornTail(folder: string): TornTail | undefined {
  const logs = readdirSync(folder)
    .filter((name) => /^\d+\.log$/.test(name))
    .toSorted();
  const newest = logs.at(-1);
  return newest === undefined ? undefined : tornTailOf(readFileSync(join(folder, newest)));
}

export function tornTailOf(log: Buffer): TornTail | undefined {
  let batchAt: number | undefined;
  let whole = 0;
  let at = 0;
  while (at < log.length) {
    const fragment = fragmentAt(log, at);
    if (!fragment) {
      // As LevelDB goes on: with the next block.
      at += BLOCK_BYTES - (at % BLOCK_BYTES);
      continue;
    }
    const { type, end } = fragment;
    if (type === TYPE.full || type === TYPE.first) batchAt = at;
    at = end;
    if (type === TYPE.full || type === TYPE.last) [batchAt, whole] = [undefined, end];
  }
  if (whole >= log.length || isFilling(log.subarray(whole))) return undefined;
  return { bytes: log.length - whole, operations: operationsAt(log, batchAt ?? whole) };
}

/** What is too short for a head at the end of a block. */
function isFilling(rest: Buffer): boolean {
  return rest.length < HEADER_BYTES && rest.every((byte) => byte === 0);
}

/** Undefined where no whole fragment begins. */
function fragmentAt(log: Buffer, at: number): { type: number; end: number } | undefined {
  if (at + HEADER_BYTES > log.length) return undefined;
  const end = at + HEADER_BYTES + log.readUInt16LE(at + 4);
  const type = log.readUInt8(at + 6);
  const left = BLOCK_BYTES - (at % BLOCK_BYTES);
  if (type < TYPE.full || type > TYPE.last || end > log.length || end - at > left) return undefined;
  return log.readUInt32LE(at) === maskedChecksum(log.subarray(at + 6, end)) ? { type, end } : undefined;
}

const CASTAGNOLI = 0x82f63b78;
const MASK_DELTA = 0xa282ead8;
const CHECKSUMS = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = (value & 1) === 1 ? (value >>> 1) ^ CASTAGNOLI : value >>> 1;
  return value;
});

/** CRC-32C, turned and shifted as LevelDB stores it (util/crc32c.h). */
function maskedChecksum(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ (CHECKSUMS[(crc ^ byte) & 0xff] ?? 0);
  crc = ~crc >>> 0;
  return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0;
}

function operationsAt(log: Buffer, at: number): number | null {
  const head = at + HEADER_BYTES;
  return head + BATCH_HEAD_BYTES <= log.length ? log.readUInt32LE(head + COUNT_AT) : null;
}
