import { performance } from 'node:perf_hooks';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** Sources of time. Every value is in milliseconds; only `wall` relates to the calendar. */
export interface Clock {
  /** Milliseconds since the Unix epoch by the system's wall clock; may step either way. */
  wall(): number;
  /** Monotonic milliseconds with a fractional part; does not count suspend (CLOCK_MONOTONIC). */
  monotonic(): number;
  /** Milliseconds since the kernel booted, suspend included (CLOCK_BOOTTIME, /proc/uptime). */
  boot(): number;
  /** Resolves after `ms` milliseconds; rejects with the signal's reason when it is aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

const RECALIBRATE_AFTER_MS = 200;
const SUSPEND_THRESHOLD_MS = 150;
const LONGEST_TIMER_MS = 2_000_000_000;

function readUptimeMs(): number {
  const text = readFileSync('/proc/uptime', 'latin1');
  return Number.parseFloat(text) * 1000;
}

/**
 * The machine's own clock. The boot clock runs on the monotonic clock and is corrected from /proc/uptime (10 ms
 * resolution) whenever the two part by more than a suspend could be mistaken for.
 */
export function createSystemClock(readUptime: () => number = readUptimeMs): Clock {
  let offset = readUptime() - performance.now();
  let checkedAt = performance.now();
  // Out of file descriptors nothing can be read, and time goes on: the next look finds a suspend.
  const offsetNow = (): number | undefined => {
    try {
      return readUptime() - performance.now();
    } catch {
      return undefined;
    }
  };
  return {
    wall: () => Date.now(),
    monotonic: () => performance.now(),
    boot() {
      const now = performance.now();
      if (now - checkedAt > RECALIBRATE_AFTER_MS) {
        checkedAt = now;
        const measured = offsetNow() ?? offset;
        if (Math.abs(measured - offset) > SUSPEND_THRESHOLD_MS) offset = measured;
      }
      return now + offset;
    },
    async sleep(ms, signal) {
      await delay(Math.min(Math.max(ms, 0), LONGEST_TIMER_MS), undefined, signal ? { signal } : {});
    },
  };
}

/** The kernel's boot id (a UUID that changes with every boot), from /proc/sys/kernel/random/boot_id. */
export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

const INSTANT =
  /^(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/** Milliseconds since the Unix epoch of an RFC 3339 instant, which names its offset; undefined for any other text. */
export function parseRfc3339(text: string): number | undefined {
  const [, year, month, day] = INSTANT.exec(text) ?? [];
  if (year === undefined) return undefined;
  const lastDay = new Date(Date.UTC(2000 + (Number(year) % 400), Number(month), 0)).getUTCDate();
  return Number(day) > lastDay ? undefined : Date.parse(text.toUpperCase());
}

/** RFC 3339 in UTC with milliseconds. */
export function toRfc3339(ms: number): string {
  return new Date(ms).toISOString();
}
