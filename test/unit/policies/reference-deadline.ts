/** A second-by-second reading of design.md §5: every instant is a whole second and every second is looked at. */
import type { FailedDial } from '../../../policies/dial-rules.js';
import type { Span } from '../../../policies/listening-ledger.js';

const S = 1000;

export interface ReferenceCase {
  readonly spans: readonly Span[];
  readonly lastSeenAt: number;
  readonly contactDueAt: number;
  readonly intervalMs: number;
  readonly graceMs: number;
}

/** For every second whether it is deaf; shorter gaps than 5 s between deaf seconds are deaf too. */
export function deafSeconds(spans: readonly Span[], horizon: number): boolean[] {
  const deaf = Array.from({ length: horizon }, (_, second) =>
    spans.some(({ from, until }) => from <= second * S && second * S < until),
  );
  for (let start = 0; start < horizon; start += 1) {
    let end = start;
    while (end < horizon && !deaf[end]) end += 1;
    const isGap = start > 0 && deaf[start - 1] && end < horizon && end - start < 5;
    if (isGap) for (let second = start; second < end; second += 1) deaf[second] = true;
    start = Math.max(start, end - 1);
  }
  return deaf;
}

/** Λ in seconds at every second up to the horizon. */
export function listeningSeconds(deaf: readonly boolean[]): number[] {
  const heard = [0];
  for (const isDeaf of deaf) heard.push(heard.at(-1)! + (isDeaf ? 0 : 1));
  return heard;
}

export function referenceDeadline(k: number, given: ReferenceCase, horizon: number): number {
  const deaf = deafSeconds(given.spans, horizon);
  const heard = listeningSeconds(deaf);
  const lastSeen = given.lastSeenAt / S;
  const interval = given.intervalMs / S;
  const grace = given.graceMs / S;
  const needed = Math.max(heard[lastSeen]! + k * interval, heard[given.contactDueAt / S]! + (k - 1) * interval) + grace;
  const ends: number[] = [];
  for (let second = 0; second < horizon; second += 1) {
    if (second > lastSeen && second > 0 && deaf[second - 1] && !deaf[second]) ends.push(second);
    const last = ends[Math.min(ends.length, 4) - 1];
    const returned = last === undefined || heard[second]! >= heard[last]! + Math.min(interval, 900) + 10 + grace;
    if (heard[second]! >= needed && returned && second >= lastSeen) return second * S;
  }
  throw new Error('the horizon is too near');
}

/** The same where only the manager dials; Infinity while no dial that counts failed. */
export function referenceDialDeadline(
  k: number,
  given: ReferenceCase & { readonly failed: readonly FailedDial[] },
  horizon: number,
): number {
  const deaf = deafSeconds(given.spans, horizon);
  const heard = listeningSeconds(deaf);
  const needed = heard[given.contactDueAt / S]! + ((k - 1) * given.intervalMs) / S;
  const dueAt = heard.findIndex((seconds, second) => second >= given.contactDueAt / S && seconds >= needed);
  const ends = given.failed
    .map(({ begunAt, endedAt }) => ({ begun: begunAt / S, ended: endedAt / S }))
    .filter(({ begun }) => begun >= given.lastSeenAt / S && dueAt !== -1 && begun >= dueAt)
    // One that took no time is heard unless it lies within a span.
    .filter(({ begun, ended }) =>
      begun === ended ? !(deaf[begun] && deaf[begun - 1]) : !deaf.slice(begun, ended).includes(true),
    )
    .map(({ ended }) => ended * S);
  return Math.max(referenceDeadline(k, given, horizon), Math.min(Number.POSITIVE_INFINITY, ...ends));
}
