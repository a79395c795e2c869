import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A write that a crash cut off: it was never answered for. LevelDB skips it without a word. */
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
  let at = skipTrailer(0);
  for (let fragment = fragmentAt(log, at); fragment; fragment = fragmentAt(log, at)) {
    const { type, end } = fragment;
    if (type === TYPE.full || type === TYPE.first) batchAt = at;
    at = skipTrailer(end);
    if (type === TYPE.full || type === TYPE.last) [batchAt, whole] = [undefined, end];
  }
  if (whole >= log.length || (at >= log.length && batchAt === undefined)) return undefined;
  return { bytes: log.length - whole, operations: operationsAt(log, batchAt ?? skipTrailer(whole)) };
}

/** What is too short for a head at the end of a block is filled. */
function skipTrailer(at: number): number {
  const left = BLOCK_BYTES - (at % BLOCK_BYTES);
  return left < HEADER_BYTES ? at + left : at;
}

/** Undefined where the log ends before the fragment does, or none begins. */
function fragmentAt(log: Buffer, at: number): { type: number; end: number } | undefined {
  if (at + HEADER_BYTES > log.length) return undefined;
  const end = at + HEADER_BYTES + log.readUInt16LE(at + 4);
  const type = log.readUInt8(at + 6);
  const left = BLOCK_BYTES - (at % BLOCK_BYTES);
  const isSound = type >= TYPE.full && type <= TYPE.last && end <= log.length && end - at <= left;
  return isSound ? { type, end } : undefined;
}

function operationsAt(log: Buffer, at: number): number | null {
  const head = at + HEADER_BYTES;
  return head + BATCH_HEAD_BYTES <= log.length ? log.readUInt32LE(head + COUNT_AT) : null;
}
