const DAY_MS = 86_400_000;
/** A computer that was switched off for longer than this is not believed to know how long. */
const LONGEST_ABSENCE_MS = 30 * DAY_MS;
/** A wall clock that parts from the fleet clock by more than this was stepped. */
const STEP_MS = 500;
/** A larger step is not trusted for certificate dates until it has stood for a day. */
const PLAUSIBLE_STEP_MS = 5 * 60_000;

/** The anchor row: at `wallMs` and `bootMs` of that boot the fleet clock showed `fleetMs`. */
export interface Anchor {
  readonly fleetMs: number;
  readonly wallMs: number;
  readonly bootId: string;
  readonly bootMs: number;
}

export interface StartReading {
  readonly wallMs: number;
  readonly bootId: string;
  readonly bootMs: number;
}

/**
 * The fleet instant of a start: under the same boot id the anchor advanced by the boot clock, otherwise by the wall
 * clock where that gives 0 to 30 days, else not at all; never behind the greatest instant that was stored.
 */
export function fleetAtStart(anchor: Anchor, reading: StartReading, greatestStored: number): number {
  return Math.max(anchor.fleetMs + advance(anchor, reading), greatestStored);
}

function advance(anchor: Anchor, { bootId, bootMs, wallMs }: StartReading): number {
  if (bootId === anchor.bootId) return Math.max(0, Math.floor(bootMs - anchor.bootMs));
  const away = Math.floor(wallMs - anchor.wallMs);
  return away >= 0 && away <= LONGEST_ABSENCE_MS ? away : 0;
}

/** From `fleetMs` on, wall time = fleet instant + `offsetMs`. */
export interface ClockOffset {
  readonly fleetMs: number;
  readonly offsetMs: number;
}

/** The offset in force at an instant; before the first one, the first. 0 when there is none. `offsets` ascend. */
export function offsetAt(offsets: readonly ClockOffset[], at: number): number {
  let low = 0;
  let high = offsets.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((offsets[middle]?.fleetMs ?? 0) <= at) low = middle + 1;
    else high = middle;
  }
  return offsets[Math.max(0, low - 1)]?.offsetMs ?? 0;
}

export function isStep(knownOffsetMs: number, measuredOffsetMs: number): boolean {
  return Math.abs(measuredOffsetMs - knownOffsetMs) > STEP_MS;
}

/**
 * The offsets to judge dates by: a step of more than five minutes is left out until it has stood for a day, so that a
 * wall clock set wrong for an hour refuses nobody. To be read with `offsetAt`.
 */
export function toTrustedOffsets(offsets: readonly ClockOffset[]): readonly ClockOffset[] {
  const [first] = offsets;
  if (!first) return [];
  const trusted = [first];
  for (const [index, { fleetMs, offsetMs }] of offsets.entries()) {
    const isSmall = Math.abs(offsetMs - (trusted.at(-1)?.offsetMs ?? 0)) <= PLAUSIBLE_STEP_MS;
    const from = isSmall ? fleetMs : fleetMs + DAY_MS;
    if (from <= (offsets[index + 1]?.fleetMs ?? from)) trusted.push({ fleetMs: from, offsetMs });
  }
  return trusted;
}
