import { factorKeysOf, subnetOf } from '../../policies/incident-factors.js';
import type { FactorKeys } from './factor-census.js';
import type { StandingRow } from './standing-repository.js';

/** Beyond these all are forgotten: a fleet whose computers have little in common costs time, not memory. */
const PROFILES_MAX = 50_000;

/** The policies above this one, the nearest first. */
export type AncestorsOf = (policyId: string) => readonly string[];

/** Works out once for all computers that are alike what they share with others. */
export class ProfileInterner {
  readonly #known = new Map<string, FactorKeys>();
  readonly #ancestorsOf: AncestorsOf;

  constructor(ancestorsOf: AncestorsOf) {
    this.#ancestorsOf = ancestorsOf;
  }

  keysOf(row: StandingRow): FactorKeys {
    const text = textOf(row);
    const known = this.#known.get(text);
    if (known) return known;
    const keys = factorKeysOf({
      address: row.observed_address,
      proxy: row.proxy_in_use,
      policyId: row.policy_id,
      ancestorIds: this.#ancestorsOf(row.policy_id),
      labels: JSON.parse(row.labels) as Record<string, string>,
      managerNode: row.manager_node,
      agentVersion: row.agent_version,
      platform: row.platform,
    });
    if (this.#known.size >= PROFILES_MAX) this.clear();
    this.#known.set(text, keys);
    return keys;
  }

  /** Policies may have moved. */
  clear(): void {
    this.#known.clear();
  }
}

function textOf(row: StandingRow): string {
  const { policy_id, labels, proxy_in_use, manager_node, agent_version, platform, observed_address } = row;
  const subnet = observed_address === null ? null : subnetOf(observed_address);
  return [subnet, policy_id, labels, proxy_in_use, manager_node, agent_version, platform].join('\u0000');
}
