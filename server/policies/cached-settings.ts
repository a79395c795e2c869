import { extendWithComputer, resolveForest, type ResolvedSettings } from '../../policies/resolve-settings.js';
import type { SettingOverrides } from '../../policies/setting-values.js';
import type { Sql } from '../database/sql.js';
import { toComputerSettings } from './computer-settings.js';
import { readForest, readGeneration } from './forest-repository.js';
import type { Policy } from './policy.js';
import type { ComputerSettings, ForestGeneration, SettingsCache, SettingsSubject } from './settings-cache.js';

/** Distinct (policy, kind, overrides) that are kept resolved. */
const SUBJECTS_MAX = 20_000;

/** What the manager's own features may ask beyond the port: provenance, and the forest that it was resolved from. */
export interface PolicySettingsCache extends SettingsCache {
  /** Reads the generation and takes up a newer one; the poll behind the notifications, and the first load. */
  refresh(): Promise<void>;
  policies(): ReadonlyMap<string, Policy>;
  /** The loaded generation, which stays as it is whatever is loaded later. */
  pinned(): PinnedForest;
  /** Takes up a generation that was committed just now, without reading it back; an older one is left. */
  adopt(forest: AdoptedForest): void;
  /** What a policy resolves to, with provenance; undefined for a policy that this generation does not have. */
  resolvedOf(policyId: string): ResolvedSettings | undefined;
  /** The resolution of a computer by its subject; the source of its own overrides has neither id nor name. */
  resolvedOfSubject(subject: SettingsSubject): ResolvedSettings;
}

/** Every policy of one generation with what it resolves to. */
export interface PinnedForest extends AdoptedForest {
  resolvedOf(policyId: string): ResolvedSettings | undefined;
}

/** A whole generation, resolved. */
export interface AdoptedForest {
  readonly generation: ForestGeneration;
  readonly policies: ReadonlyMap<string, Policy>;
  readonly resolved: ReadonlyMap<string, ResolvedSettings>;
}

interface Loaded extends AdoptedForest {
  /** Agents without overrides, by policy: what most of a fleet is. */
  readonly plain: Map<string, ComputerSettings>;
  /** Everyone else, least recently used first. */
  readonly subjects: Map<string, ComputerSettings>;
}

const NOTHING_LOADED: Loaded = {
  generation: { epoch: '', counter: -1 },
  policies: new Map(),
  resolved: new Map(),
  plain: new Map(),
  subjects: new Map(),
};

/** `sql` is the pool's: every load is one statement, whatever the number of computers. */
export function createSettingsCache({ sql }: { readonly sql: Sql }): PolicySettingsCache {
  let loaded = NOTHING_LOADED;
  const listeners: (() => void)[] = [];
  const adopt = ({ generation, policies, resolved }: AdoptedForest): void => {
    if (isReached(loaded.generation, generation)) return;
    loaded = { generation, policies, resolved, plain: new Map(), subjects: new Map() };
    for (const listener of listeners) listener();
  };
  const load = coalesced(async () => {
    const { generation, policies } = await readForest(sql);
    if (!isReached(loaded.generation, generation))
      adopt({ generation, policies, resolved: resolveForest(policies.values()) });
  });
  return {
    generation: () => loaded.generation,
    async ensure(needed) {
      if (!isReached(loaded.generation, needed)) await load();
    },
    async refresh() {
      const stored = await readGeneration(sql);
      if (!isReached(loaded.generation, stored)) await load();
    },
    adopt,
    settingsOf: (subject) => settingsOf(loaded, subject),
    onChange: (listener) => void listeners.push(listener),
    policies: () => loaded.policies,
    pinned() {
      const { generation, policies, resolved } = loaded;
      return { generation, policies, resolved, resolvedOf: (policyId) => resolved.get(policyId) };
    },
    resolvedOf: (policyId) => loaded.resolved.get(policyId),
    resolvedOfSubject: (subject) => resolveSubject(loaded, subject),
  };
}

function isReached(held: ForestGeneration, needed: ForestGeneration): boolean {
  return held.epoch === needed.epoch && held.counter >= needed.counter;
}

/**
 * One run at a time, and every caller gets one that began after its call: a run that is under way may have read
 * before the commit that the caller asks for, so all who arrive during it share the next.
 */
function coalesced(run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  const start = (): Promise<void> => {
    next = undefined;
    running = run().finally(() => {
      running = undefined;
    });
    return running;
  };
  return () => {
    if (!running) return start();
    next ??= running.then(start, start);
    return next;
  };
}

function settingsOf(loaded: Loaded, subject: SettingsSubject): ComputerSettings {
  return subject.kind === 'agent' && subject.overrides === null
    ? plainSettingsOf(loaded, subject)
    : subjectSettingsOf(loaded, subject);
}

function plainSettingsOf(loaded: Loaded, subject: SettingsSubject): ComputerSettings {
  const known = loaded.plain.get(subject.policyId);
  if (known) return known;
  const settings = resolveToSettings(loaded, subject);
  loaded.plain.set(subject.policyId, settings);
  return settings;
}

function subjectSettingsOf(loaded: Loaded, subject: SettingsSubject): ComputerSettings {
  const { subjects } = loaded;
  const key = `${subject.policyId} ${subject.kind} ${subject.overrides ?? ''}`;
  const settings = subjects.get(key) ?? resolveToSettings(loaded, subject);
  subjects.delete(key);
  subjects.set(key, settings);
  if (subjects.size > SUBJECTS_MAX) evictOldest(subjects);
  return settings;
}

function evictOldest(cache: Map<string, ComputerSettings>): void {
  const [oldest] = cache.keys();
  if (oldest !== undefined) cache.delete(oldest);
}

function resolveToSettings(loaded: Loaded, subject: SettingsSubject): ComputerSettings {
  const rulesSince = loaded.policies.get(subject.policyId)?.rulesSince ?? 0;
  return toComputerSettings(resolveSubject(loaded, subject), rulesSince);
}

function resolveSubject({ resolved }: Loaded, { policyId, kind, overrides }: SettingsSubject): ResolvedSettings {
  const policy = resolved.get(policyId);
  if (!policy) throw new Error(`Policy ${policyId} is not of the loaded generation: ensure it first`);
  if (kind === 'agent' && overrides === null) return policy;
  const own = overrides === null ? {} : (JSON.parse(overrides) as SettingOverrides);
  return extendWithComputer(policy, { id: '', name: '', kind, overrides: own });
}
