import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { DialOutcome } from './dial-transport.js';

/** An attempt that nobody ends is over after this: a dial takes no longer than 10 s. */
export const ATTEMPT_MS = 15_000;
/** Waits after an attempt that failed; after the last one the agent is left to find out by itself. */
const RETRY_MS = [5_000, 20_000, 80_000, 320_000, 1_280_000] as const;
/** However many attempts are left: the manager itself may have been down. */
const KEPT_MS = 86_400_000;
const BUSY_MS = 2000;
const FAREWELLS: ReadonlySet<string> = new Set(['computer-removed', 'computer-revoked']);

export interface FarewellFacts {
  readonly orderedAt: FleetInstant;
  /** Those that began, this one included. */
  readonly attempts: number;
}

export type FarewellStep =
  /** The agent knows: by this code. */
  | { readonly kind: 'told'; readonly code: string }
  | { readonly kind: 'given-up'; readonly why: string }
  | { readonly kind: 'again'; readonly dueAt: FleetInstant; readonly isCounted: boolean };

/** Whether an order to tell an agent is too old to be carried out. */
export function isFarewellOver({ orderedAt }: FarewellFacts, at: FleetInstant): boolean {
  return at >= orderedAt + KEPT_MS;
}

/** What comes after an attempt to tell an agent that its computer is no more. */
export function afterFarewell(outcome: DialOutcome, { attempts }: FarewellFacts, at: FleetInstant): FarewellStep {
  if (outcome.kind === 'busy') return { kind: 'again', dueAt: at + BUSY_MS, isCounted: false };
  if (outcome.kind === 'own') return { kind: 'again', dueAt: at + outcome.retryAfterMs, isCounted: false };
  if (outcome.kind === 'answered') return { kind: 'given-up', why: 'its report was taken' };
  if (outcome.told !== undefined && FAREWELLS.has(outcome.told)) return { kind: 'told', code: outcome.told };
  const delay = RETRY_MS[attempts - 1];
  if (delay === undefined) return { kind: 'given-up', why: `${outcome.failure.code}: ${outcome.failure.message}` };
  return { kind: 'again', dueAt: at + delay, isCounted: true };
}
