import type { PolicySettingsCache } from './cached-settings.js';

/** The policies whose settings changed; `fingerprints` of agents without overrides, hex, index by index. */
export interface ChangedPolicies {
  readonly ids: readonly string[];
  readonly fingerprints: readonly string[];
}

export interface PolicyWatch {
  /** The policies whose settings or locks differ from those last accepted. */
  changed(): ChangedPolicies;
  /** What `changed` answered last is dealt with. */
  accept(): void;
}

interface Known {
  readonly fingerprint: string;
  /** Locks decide which overrides below count. */
  readonly bounds: string;
}

/** Compares generations of the forest by policy: an edit that concerns no agent costs no query. */
export function createPolicyWatch(cache: PolicySettingsCache): PolicyWatch {
  let accepted: { counter: number; epoch: string; known: ReadonlyMap<string, Known> } | undefined;
  let seen = accepted;
  return {
    changed() {
      const { generation, policies, resolvedOf } = cache.pinned();
      if (accepted?.counter === generation.counter && accepted.epoch === generation.epoch) return NOTHING;
      const known = new Map<string, Known>();
      for (const policyId of policies.keys()) {
        const { fingerprint } = cache.settingsOf({ kind: 'agent', policyId, overrides: null });
        known.set(policyId, { fingerprint, bounds: JSON.stringify(resolvedOf(policyId)?.bounds ?? {}) });
      }
      const before = accepted?.known;
      seen = { ...generation, known };
      const changed = [...known].filter(([id, now]) => !isSame(before?.get(id), now));
      if (changed.length === 0) accepted = seen;
      return { ids: changed.map(([id]) => id), fingerprints: changed.map(([, { fingerprint }]) => fingerprint) };
    },
    accept() {
      accepted = seen;
    },
  };
}

const NOTHING: ChangedPolicies = { ids: [], fingerprints: [] };

function isSame(before: Known | undefined, now: Known): boolean {
  return before?.fingerprint === now.fingerprint && before.bounds === now.bounds;
}
