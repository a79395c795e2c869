import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A part of the log that cannot be read. */
export interface Unreadable {
  readonly bytes: number;
  /** Of the writes that were in it: records, and what the agent notes for itself. Null where it cannot be known. */
  readonly operations: number | null;
}

/** What LevelDB skips without a word. */
export interface LogDamage {
  /** Whole writes stand behind it: it was stored, and told so. */
  readonly damaged: Unreadable | undefined;
  /** Nothing whole stands behind it: after a crash a write that was never answered. */
  readonly torn: Unreadable | undefined;
}

interface Fragment {
  readonly type: number;
  readonly at: number;
  readonly end: number;
  readonly data: Buffer;
}

/** Of a write. Operations are numbered without a gap from one write to the next. */
interface Head {
  readonly sequence: number;
  readonly count: number;
}

interface Batch extends Head {
  readonly at: number;
  readonly end: number;
}

const BLOCK_BYTES = 32_768;
/** Checksum (4), length (2), type (1). */
const HEADER_BYTES = 7;
const TYPE = { full: 1, first: 2, middle: 3, last: 4 } as const;
/** A batch begins with a sequence number (8) and the count of its operations (4). */
const COUNT_AT = 8;
const BATCH_HEAD_BYTES = 12;

/** Looks at the logs of a closed database (leveldb, doc/log_format.md); undefined where all of them can be read. */
export function findLogDamage(folder: string): LogDamage | undefined {
  const logs = readdirSync(folder).filter((name) => /^\d+\.log$/.test(name));
  return logDamageOf(logs.toSorted().map((name) => readFileSync(join(folder, name))));
}

/** Of logs in the order in which they were written. */
export function logDamageOf(logs: readonly Buffer[]): LogDamage | undefined {
  const { bytes, ...end } = readThrough(logs);
  let { damaged } = end;
  const lost = bytes === 0 ? NOTHING : operationsBehind(logs, end);
  if (lost.isTorn) return { damaged, torn: { bytes, operations: lost.operations } };
  // A write may change nothing.
  if (lost.operations !== 0) damaged = sumOf(damaged, { bytes, operations: lost.operations });
  return damaged && { damaged, torn: undefined };
}

const NOTHING = { isTorn: false, operations: 0 };

/** Up to the last write that LevelDB reads: what of the log before it it does not, and how many bytes stand behind it. */
function readThrough(logs: readonly Buffer[]) {
  let next: number | undefined;
  let damaged: Unreadable | undefined;
  let whole = 0;
  let bytes = 0;
  for (const log of logs) {
    whole = 0;
    for (const { at, end, sequence, count } of batchesOf(log)) {
      bytes += at - whole;
      const begin = next ?? (bytes === 0 ? sequence : beginOf(logs, sequence));
      if (begin !== sequence) damaged = sumOf(damaged, { bytes, operations: between(begin, sequence) });
      next = sequence + count;
      whole = end;
      bytes = 0;
    }
    if (!isFilling(log.subarray(whole))) bytes += log.length - whole;
  }
  return { damaged, next, whole, bytes };
}

interface End {
  readonly whole: number;
  /** The number of the operation that comes next; undefined where none is known. */
  readonly next: number | undefined;
}

/** Of the writes behind the last one that LevelDB reads. */
function operationsBehind(logs: readonly Buffer[], { whole, next }: End) {
  const log = logs.at(-1) ?? Buffer.alloc(0);
  const fragments = wholeFragments(log, whole);
  if (isUnbroken(fragments, whole)) {
    const head = fragments.length > 0 ? headOf(fragments) : headOfCut(log, { at: placeFrom(whole), next });
    return { isTorn: true, operations: head?.count ?? null };
  }
  const begins = fragments.filter(isBegin);
  const begin = next ?? beginOf(logs, headOf(begins.slice(0, 1))?.sequence);
  const last = begins.at(-1);
  return { isTorn: false, operations: between(begin, last && endOf(log, fragments.slice(fragments.indexOf(last)))) };
}

/** The writes of a log as LevelDB reads them. */
function* batchesOf(log: Buffer): Generator<Batch> {
  let parts: Fragment[] = [];
  for (let at = 0; at < log.length; at = placeFrom(at)) {
    const fragment = fragmentAt(log, at);
    if (!fragment) {
      // As LevelDB goes on: with the next block.
      at += BLOCK_BYTES - (at % BLOCK_BYTES);
      parts = [];
      continue;
    }
    if (isBegin(fragment)) parts = [fragment];
    else if (parts.length > 0) parts.push(fragment);
    at = fragment.end;
    if (fragment.type !== TYPE.full && fragment.type !== TYPE.last) continue;
    const head = headOf(parts);
    if (head) yield { ...head, at: parts[0]?.at ?? at, end: at };
    parts = [];
  }
}

/** All that stands behind a place, whether LevelDB reads it or not. */
function wholeFragments(log: Buffer, from: number): Fragment[] {
  const fragments: Fragment[] = [];
  for (let at = from; at < log.length;) {
    const fragment = fragmentAt(log, at);
    if (fragment) fragments.push(fragment);
    at = fragment?.end ?? at + 1;
  }
  return fragments;
}

/** Undefined where no whole fragment begins. */
function fragmentAt(log: Buffer, at: number): Fragment | undefined {
  if (at + HEADER_BYTES > log.length) return undefined;
  const end = at + HEADER_BYTES + log.readUInt16LE(at + 4);
  const type = log.readUInt8(at + 6);
  const left = BLOCK_BYTES - (at % BLOCK_BYTES);
  if (type < TYPE.full || type > TYPE.last || end > log.length || end - at > left) return undefined;
  if (log.readUInt32LE(at) !== maskedChecksum(log.subarray(at + 6, end))) return undefined;
  return { type, at, end, data: log.subarray(at + HEADER_BYTES, end) };
}

/** What is too short for a head at the end of a block is filled. */
function placeFrom(at: number): number {
  const left = BLOCK_BYTES - (at % BLOCK_BYTES);
  return left < HEADER_BYTES ? at + left : at;
}

function isFilling(rest: Buffer): boolean {
  return rest.length < HEADER_BYTES && rest.every((byte) => byte === 0);
}

function isBegin({ type }: Fragment): boolean {
  return type === TYPE.full || type === TYPE.first;
}

function isUnbroken(fragments: readonly Fragment[], from: number): boolean {
  return fragments.every(({ at }, index) => at === placeFrom(fragments[index - 1]?.end ?? from));
}

/** The number behind the last operation of a log whose last write this is; undefined unless it is there to its end. */
function endOf(log: Buffer, parts: readonly Fragment[]): number | undefined {
  const last = parts.at(-1);
  const head = headOf(parts);
  if (!last || !head || !isUnbroken(parts, parts[0]?.at ?? 0)) return undefined;
  const isEnded = last.type === TYPE.full || last.type === TYPE.last;
  return isEnded && isFilling(log.subarray(last.end)) ? head.sequence + head.count : undefined;
}

/** It may be cut in two. */
function headOf(parts: readonly Fragment[]): Head | undefined {
  return readHead(Buffer.concat(parts.slice(0, 2).map(({ data }) => data)));
}

function readHead(data: Buffer): Head | undefined {
  if (data.length < BATCH_HEAD_BYTES) return undefined;
  return { sequence: Number(data.readBigUInt64LE()), count: data.readUInt32LE(COUNT_AT) };
}

/** Of a write that the log ends in: no checksum says that it is so, but its number does. */
function headOfCut(log: Buffer, { at, next }: { readonly at: number; readonly next: number | undefined }) {
  if (at + HEADER_BYTES > log.length || at + HEADER_BYTES + log.readUInt16LE(at + 4) <= log.length) return undefined;
  const head = readHead(log.subarray(at + HEADER_BYTES));
  return head?.sequence === next ? head : undefined;
}

/** The number of the first operation of all, where what is known of its write meets what comes behind. */
function beginOf([log = Buffer.alloc(0)]: readonly Buffer[], behind: number | undefined): number | undefined {
  const head = readHead(log.subarray(HEADER_BYTES));
  return head && head.sequence + head.count === behind ? head.sequence : undefined;
}

function between(begin: number | undefined, end: number | undefined): number | null {
  return begin === undefined || end === undefined || begin > end ? null : end - begin;
}

function sumOf(before: Unreadable | undefined, { bytes, operations }: Unreadable): Unreadable {
  if (!before) return { bytes, operations };
  const isKnown = before.operations !== null && operations !== null;
  return { bytes: before.bytes + bytes, operations: isKnown ? before.operations + operations : null };
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
