import { LANES, type Lane } from '../../protocol/heartbeat-messages.js';

/**
 * Keys of the spool, ordered as they are sent. Epoch names are random, so an ordinal (one per opening of the spool)
 * carries their order: `r!lane!ordinal!sequence` is a record, `o!ordinal` the epoch's name, `a!lane!ordinal` the
 * acknowledged position, `x!lane!ordinal` up to where records were dropped for room, `l!lane!ordinal` the ranges that were
 * found lost and told, `d!lane` the count of dropped records.
 */
const LAST = '~';

function padded(value: number): string {
  return value.toString(16).padStart(14, '0');
}

function laneDigit(lane: Lane): string {
  return String(LANES.indexOf(lane));
}

export function recordKey(lane: Lane, ordinal: number, sequence: number): string {
  return `r!${laneDigit(lane)}!${padded(ordinal)}!${padded(sequence)}`;
}

export function epochKey(ordinal: number): string {
  return `o!${padded(ordinal)}`;
}

export function acknowledgedKey(lane: Lane, ordinal: number): string {
  return `a!${laneDigit(lane)}!${padded(ordinal)}`;
}

export function droppedThroughKey(lane: Lane, ordinal: number): string {
  return `x!${laneDigit(lane)}!${padded(ordinal)}`;
}

export function toldLossesKey(lane: Lane, ordinal: number): string {
  return `l!${laneDigit(lane)}!${padded(ordinal)}`;
}

export function droppedKey(lane: Lane): string {
  return `d!${laneDigit(lane)}`;
}

export const ALL_RECORDS = { gte: 'r!', lte: `r!${LAST}` };
export const ALL_EPOCHS = { gte: 'o!', lte: `o!${LAST}` };
export const ALL_ACKNOWLEDGED = { gte: 'a!', lte: `a!${LAST}` };
export const ALL_DROPPED_THROUGH = { gte: 'x!', lte: `x!${LAST}` };
export const ALL_TOLD_LOSSES = { gte: 'l!', lte: `l!${LAST}` };

export interface RecordPlace {
  readonly lane: Lane;
  readonly ordinal: number;
  readonly sequence: number;
}

/** Reads a record's or an acknowledged position's key (then sequence is NaN). */
export function parsePlace(key: string): RecordPlace | undefined {
  const [, digit, ordinal, sequence] = key.split('!');
  const lane = LANES[Number(digit)];
  if (!lane || ordinal === undefined) return undefined;
  return { lane, ordinal: Number.parseInt(ordinal, 16), sequence: Number.parseInt(sequence ?? '', 16) };
}
