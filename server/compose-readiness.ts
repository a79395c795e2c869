import type { ReadinessCheck } from './admin-api/readiness-check.js';
import type { Core } from './compose-core.js';
import type { Config } from './config.js';
import { toRfc3339 } from '../lib/clock.js';
import type { FleetInstant } from './fleet-clock/fleet-clock.js';
import type { Storage } from './open-storage.js';

/** What `/readyz` asks: whether the manager is to stay, the database, the listening of the agent port, and verdicts. */
export function composeReadiness(deps: {
  readonly config: Config;
  readonly storage: Storage;
  readonly core: Core;
}): ReadinessCheck[] {
  const { config, storage, core } = deps;
  const show = (instant: FleetInstant): string => toRfc3339(storage.fleetClock.toWall(instant));
  const drain: ReadinessCheck = {
    name: 'drain',
    async check() {
      const period = core.drain.period();
      return period ? `draining until ${show(period.endsAt)}` : null;
    },
  };
  const database: ReadinessCheck = {
    name: 'database',
    async check() {
      await storage.sql.query('SELECT 1 AS one');
      return null;
    },
  };
  const listening: ReadinessCheck = { name: 'agent port', check: async () => core.ledger.deafness()?.cause ?? null };
  const verdicts: ReadinessCheck = {
    name: 'verdicts',
    async check() {
      const { state, reason, since, until } = core.verdicts.verdictState();
      if (state === 'active') return null;
      const end = until === null ? '' : ` until ${show(until)} at the latest`;
      return `${state}: ${reason ?? 'no reason known'}, since ${show(since)}${end}`;
    },
  };
  return [
    drain,
    database,
    ...(config.roles.has('agents') ? [listening] : []),
    ...(config.roles.has('jobs') ? [verdicts] : []),
  ];
}
