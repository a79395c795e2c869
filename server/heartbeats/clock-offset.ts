/** Unix milliseconds within which a JavaScript date exists; what is stored of an agent's claim stays inside. */
const LATEST_INSTANT_MS = 8_640_000_000_000_000;
const YEAR_MS = 365 * 86_400_000;

/** The four timestamps of one exchange, milliseconds, each by its owner's clock: agent, manager, manager, agent. */
export interface FourTimestamps {
  readonly sentAt: number;
  readonly receivedAt: number;
  readonly answeredAt: number;
  readonly answerReceivedAt: number;
}

export interface ClockSample {
  /** Agent's clock less that of the manager's timestamps, whole milliseconds. */
  readonly offsetMs: number;
  /** The true offset lies within this of `offsetMs`: half of the round trip. */
  readonly errorMs: number;
}

/** An attempt ends after 10 s (beat-rules.ts of the agent): what took longer holds a step of the agent's clock. */
const LONGEST_ROUND_TRIP_MS = 15_000;

/**
 * The offset by four timestamps (RFC 5905 section 8, sign turned: positive is an agent ahead), whoever dialled: the
 * report always leaves first and the orders arrive last. Null if they make no sense.
 */
export function clockSample({ sentAt, receivedAt, answeredAt, answerReceivedAt }: FourTimestamps): ClockSample | null {
  const roundTripMs = answerReceivedAt - sentAt - (answeredAt - receivedAt);
  if (!(roundTripMs >= 0) || roundTripMs > LONGEST_ROUND_TRIP_MS) return null;
  const offsetMs = (sentAt - receivedAt + (answerReceivedAt - answeredAt)) / 2;
  return { offsetMs: toClaim(offsetMs), errorMs: Math.ceil(roundTripMs / 2) };
}

/** An offset that an agent claims, as a whole number that a date and a bigint column can hold. */
export function toClaim(value: number): number {
  if (Number.isNaN(value)) return 0;
  return Math.round(Math.min(LATEST_INSTANT_MS, Math.max(-LATEST_INSTANT_MS, value)));
}

/** The first and the last millisecond of years 0 to 9999, which RFC 3339 can write. */
const FIRST_WRITTEN_MS = -62_167_219_200_000;
const LAST_WRITTEN_MS = 253_402_300_799_999;

/** An instant that an agent claims, moved into the years that the API can show. */
export function toClaimedInstant(value: number): number {
  return Math.min(LAST_WRITTEN_MS, Math.max(FIRST_WRITTEN_MS, toClaim(value)));
}

/** Over a year beside the manager's clock: an unset clock or a lie, not a drift. */
export function isFantastic(offsetMs: number): boolean {
  return Math.abs(offsetMs) > YEAR_MS;
}
