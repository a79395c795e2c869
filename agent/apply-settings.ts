import { fingerprintOf } from '../policies/fingerprint.js';
import {
  catalogueDefaults,
  SETTING_KEYS,
  SETTINGS_CATALOGUE,
  validateSetting,
} from '../policies/settings-catalogue.js';
import { canonicalJson, type JsonValue } from '../lib/canonical-json.js';
import type { SettingValues } from '../policies/setting-values.js';
import { parseBoundedJson } from '../lib/bounded-json.js';
import { invalidFields, Problem } from '../lib/problem.js';
import { isPlainObject } from '../lib/schema.js';
import type { SettingsGeneration, SettingsOrder } from '../protocol/heartbeat-messages.js';
import { isOutdatedGeneration } from './beat-rules.js';
import type { Spool } from './spool/spool.js';
import type { AppliedSettings, StateStore, StoredCandidate } from './state-store.js';

/** Reads a settings document: known keys are checked, unknown ones ignored, absent ones at their default. */
export function parseSettings(json: string): SettingValues {
  const document = parseBoundedJson(Buffer.from(json));
  if (!isPlainObject(document)) throw new Problem('request-invalid', { detail: 'The settings are no object.' });
  const present = SETTING_KEYS.filter((key) => Object.hasOwn(document, key));
  const errors = present.flatMap((key) => validateSetting(key, document[key]));
  if (errors.length > 0) throw invalidFields(errors);
  const given = Object.fromEntries(present.map((key) => [key, document[key]]));
  return { ...catalogueDefaults(), ...given };
}

/** A document that was checked, and what it says. */
export interface CheckedSettings {
  readonly document: AppliedSettings;
  readonly values: SettingValues;
}

/**
 * The part of new settings that needs no proof: the document with the candidate keys at the values in force, under the
 * fingerprint of that.
 */
export function withoutCandidateKeys({ document }: CheckedSettings, inForce: SettingValues): CheckedSettings {
  const keys = SETTING_KEYS.filter((key) => SETTINGS_CATALOGUE[key].apply === 'candidate');
  const kept = Object.fromEntries(keys.map((key) => [key, inForce[key]]));
  const merged = { ...(JSON.parse(document.json) as object), ...kept };
  const json = canonicalJson(merged as unknown as JsonValue);
  return {
    document: { json, fingerprint: fingerprintOf(json), generation: document.generation },
    values: parseSettings(json),
  };
}

/** The settings the agent acts on: the last applied ones, kept while alone and over restarts. */
export class Settings {
  readonly #state: StateStore;
  readonly #spool: Spool;
  #values: SettingValues;
  #refused: string | undefined;

  constructor(state: StateStore, spool: Spool) {
    this.#state = state;
    this.#spool = spool;
    this.#values = valuesOf(state.settings);
    spool.setMaxMegabytes(this.#values.spoolMaxMegabytes);
  }

  get values(): SettingValues {
    return this.#values;
  }

  /** Reads again what is stored. */
  reload(): void {
    this.#values = valuesOf(this.#state.settings);
    this.#spool.setMaxMegabytes(this.#values.spoolMaxMegabytes);
    this.#refused = undefined;
  }

  get applied(): AppliedSettings | undefined {
    return this.#state.settings;
  }

  /** Undefined where the order is outdated or cannot be understood; an event says so. */
  async examine(order: SettingsOrder): Promise<CheckedSettings | undefined> {
    if (isOutdatedGeneration(order.generation, this.applied?.generation)) return undefined;
    const checked = this.#check(order);
    if (!checked.ok) {
      await this.#refuse(order, checked.detail);
      return undefined;
    }
    const { json, fingerprint, generation } = order;
    return { document: { json, fingerprint, generation }, values: checked.values };
  }

  /** Stores durably, applies, and reports what it did as an event. A candidate before them is forgotten. */
  async adopt({ document, values }: CheckedSettings, candidate?: StoredCandidate): Promise<void> {
    const before = this.applied;
    await this.#state.saveSettings(document, candidate);
    this.#values = values;
    this.#spool.setMaxMegabytes(values.spoolMaxMegabytes);
    if (before?.fingerprint === document.fingerprint) return;
    await this.#spool.append('control', {
      kind: 'settings-applied',
      severity: 'info',
      message: 'New settings were applied',
      data: {
        fingerprint: document.fingerprint,
        generation: document.generation,
        before: before?.fingerprint ?? null,
      },
    });
  }

  /** The manager confirmed that the applied settings are those of this generation. */
  async confirm(generation: SettingsGeneration): Promise<void> {
    const applied = this.applied;
    const isSame = applied?.generation.epoch === generation.epoch && applied.generation.counter === generation.counter;
    if (!applied || isSame || isOutdatedGeneration(generation, applied.generation)) return;
    await this.#state.saveSettings({ ...applied, generation }, this.#state.candidate);
  }

  #check(order: SettingsOrder): { ok: true; values: SettingValues } | { ok: false; detail: string } {
    if (fingerprintOf(order.json) !== order.fingerprint)
      return { ok: false, detail: 'The fingerprint is not that of the document.' };
    try {
      return { ok: true, values: parseSettings(order.json) };
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      const fields = (error.facts.errors ?? []).map(({ pointer, detail }) => `${pointer} ${detail}`);
      return { ok: false, detail: [error.message, ...fields].join(' ').slice(0, 2000) };
    }
  }

  /** Once per document: the manager offers it again at every heartbeat. */
  async #refuse(order: SettingsOrder, detail: string): Promise<void> {
    if (this.#refused === order.fingerprint) return;
    this.#refused = order.fingerprint;
    await this.#spool.append('control', {
      kind: 'settings-refused',
      severity: 'high',
      message: `Settings were refused: ${detail}`,
      data: { fingerprint: order.fingerprint },
    });
  }
}

function valuesOf(applied: AppliedSettings | undefined): SettingValues {
  try {
    return applied ? parseSettings(applied.json) : catalogueDefaults();
  } catch {
    // Written by another version of the agent: the manager will send what this one understands.
    return catalogueDefaults();
  }
}
