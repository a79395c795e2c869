import { canonicalJson, type JsonValue } from '../lib/canonical-json.js';
import { fingerprintOf } from '../policies/fingerprint.js';
import type { SettingsOrder } from '../protocol/heartbeat-messages.js';
import type { AgentOptions } from './agent-options.js';
import type { Identity } from './data-directory.js';

/** Older than any that a manager gives. */
const NO_GENERATION = { epoch: '00000000-0000-0000-0000-000000000000', counter: 0 };

/** What an agent that never was in contact begins with: its enrollment's settings, in the direction asked for. */
export function firstSettings(
  { settings }: Pick<Identity, 'settings'>,
  { firstDirection }: Pick<AgentOptions, 'firstDirection'>,
): SettingsOrder | undefined {
  if (firstDirection === undefined) return settings;
  const document = JSON.parse(settings?.json ?? '{}') as Record<string, JsonValue>;
  const json = canonicalJson({ ...document, communicationDirection: firstDirection });
  return { json, fingerprint: fingerprintOf(json), generation: settings?.generation ?? NO_GENERATION };
}
