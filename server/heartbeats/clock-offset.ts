/** Unix milliseconds within which a JavaScript date exists; what is stored of an agent's claim stays inside. */
const LATEST_INSTANT_MS = 8_640_000_000_000_000;
const YEAR_MS = 365 * 86_400_000;

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
