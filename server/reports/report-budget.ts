import type { Clock } from '../../lib/clock.js';
import { Problem } from '../../lib/problem.js';

/** The admin port gives up a call that is worked on for longer than 35 s. */
const BUDGET_MS = 30_000;
const AT_ONCE = 2;

/** How long an answer that is made whole may take. */
export interface Budget {
  /** Throws `unavailable` when the time is used up. */
  check(): void;
}

export function createBudget(clock: Pick<Clock, 'monotonic'>, remedy: string): Budget {
  const until = clock.monotonic() + BUDGET_MS;
  return {
    check() {
      if (clock.monotonic() <= until) return;
      const detail = `The answer was not ready within ${BUDGET_MS / 1000} s: ${remedy}.`;
      throw new Problem('unavailable', { detail, retryAfterSeconds: 10 });
    },
  };
}

/** Reports over the whole fleet, of which a process makes few at once. */
export interface Turnstile {
  /** Throws `unavailable` when there is no place; the place is given back by the function that is answered. */
  enter(): () => void;
}

export function createTurnstile(places = AT_ONCE): Turnstile {
  let taken = 0;
  return {
    enter() {
      if (taken >= places)
        throw new Problem('unavailable', {
          detail: `${places} reports over many computers are being made at this moment.`,
          retryAfterSeconds: 5,
        });
      taken += 1;
      let isInside = true;
      return () => {
        if (isInside) taken -= 1;
        isInside = false;
      };
    },
  };
}
