import type { Ledger } from '../../policies/listening-ledger.js';
import { judge, type Verdict } from '../../policies/verdict-rules.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { ComputerSettings } from '../policies/settings-cache.js';
import type { RememberedFacts } from './shard-memory.js';

/** What memory alone can say of a computer: nothing changes before `until`; undefined when the database must be asked. */
export interface Quiet {
  readonly until: FleetInstant;
}

export interface Rules {
  readonly settings: ComputerSettings | undefined;
  readonly ledger: Ledger;
}

/** Judges from memory; only a verdict that is the stored one is answered. */
export function judgeFromMemory(facts: RememberedFacts, rules: Rules, at: FleetInstant): Quiet | undefined {
  if (facts.status === 'revoked') return { until: Number.POSITIVE_INFINITY };
  if (facts.lastSeenAt === null) return facts.status === 'pending' ? { until: Number.POSITIVE_INFINITY } : undefined;
  if (facts.status === 'stopped') return undefined;
  const verdict = verdictOfMemory(facts, rules, at);
  return verdict?.status === facts.status ? { until: verdict.nextChangeAt } : undefined;
}

/** Whether an online computer's first deadline has passed, so that it is about to be called late or offline. */
export function isFalling(facts: RememberedFacts, rules: Rules, at: FleetInstant): boolean {
  if (facts.status !== 'online') return false;
  const status = verdictOfMemory(facts, rules, at)?.status;
  return status === 'late' || status === 'offline';
}

/** Misses that need a failed dial come no earlier than without: what follows is too early at worst. */
function verdictOfMemory(facts: RememberedFacts, { settings, ledger }: Rules, at: FleetInstant): Verdict | undefined {
  if (facts.lastSeenAt === null || facts.isSpecial || !settings) return undefined;
  const intervalMs = facts.intervalMs || settings.intervalMs;
  return judge(
    {
      facts: {
        everSeen: true,
        lastSeenAt: facts.lastSeenAt,
        contactDueAt: facts.contactDueAt ?? facts.lastSeenAt + intervalMs,
        intervalMs,
        dials: null,
        goodbye: null,
        power: { state: 'unknown', since: Number.NEGATIVE_INFINITY, expiresAt: null },
        revokedAt: null,
        rulesSince: Math.max(facts.rulesSince, settings.rulesSince),
      },
      rules: settings.verdictRules,
      ledger,
    },
    at,
  );
}
