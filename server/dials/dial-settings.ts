import type { ComputerSettings } from '../policies/settings-cache.js';
import type { Direction } from './dial-rules.js';

export interface DialSettings {
  readonly communicationDirection: Direction;
  readonly listenerPort: number;
}

const read = new WeakMap<ComputerSettings, DialSettings>();

/** What of the effective settings decides about dials; they are shared by all computers of a policy, and read once. */
export function dialSettingsOf(settings: ComputerSettings): DialSettings {
  const known = read.get(settings);
  if (known) return known;
  const { communicationDirection, listenerPort } = JSON.parse(settings.json) as DialSettings;
  const fresh = { communicationDirection, listenerPort };
  read.set(settings, fresh);
  return fresh;
}
