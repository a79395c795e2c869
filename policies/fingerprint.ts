import { createHash } from 'node:crypto';
import { canonicalJson, type JsonValue } from '../lib/canonical-json.js';
import { SETTING_KEYS, SETTINGS_CATALOGUE } from './settings-catalogue.js';
import type { SettingOverrides, SettingValues } from './setting-values.js';

export interface SettingsDocument {
  /** Canonical JSON (RFC 8785) of the settings the agent acts on: the exact bytes to send, in UTF-8. */
  readonly json: string;
  /** Lower-case hex SHA-256 over those bytes. */
  readonly fingerprint: string;
}

/** The settings of audience agent or both. */
export function agentSettings(values: SettingValues): SettingOverrides {
  const keys = SETTING_KEYS.filter((key) => SETTINGS_CATALOGUE[key].audience !== 'manager');
  return Object.fromEntries(keys.map((key) => [key, values[key]])) as SettingOverrides;
}

export function settingsDocument(values: SettingValues): SettingsDocument {
  const json = canonicalJson(agentSettings(values) as unknown as JsonValue);
  return { json, fingerprint: fingerprintOf(json) };
}

/** The fingerprint of a received document, over its exact text. */
export function fingerprintOf(json: string): string {
  return createHash('sha256').update(json, 'utf8').digest('hex');
}
