import type { ComputerSettings } from '../policies/settings-cache.js';
import { SETTINGS_CATALOGUE } from '../../policies/settings-catalogue.js';
import type { PingRhythm } from './manager-channel.js';

/** Until the settings of its computer are looked at. */
export const FIRST_RHYTHM: PingRhythm = {
  pingIntervalSeconds: SETTINGS_CATALOGUE.pingIntervalSeconds.default,
  pongTimeoutSeconds: SETTINGS_CATALOGUE.pongTimeoutSeconds.default,
};

const read = new WeakMap<ComputerSettings, PingRhythm>();

/** How often both ends of a channel make sure of each other; settings are shared by a policy's computers, and read once. */
export function rhythmOf(settings: ComputerSettings): PingRhythm {
  const known = read.get(settings);
  if (known) return known;
  const { pingIntervalSeconds, pongTimeoutSeconds } = JSON.parse(settings.json) as PingRhythm;
  const fresh = { pingIntervalSeconds, pongTimeoutSeconds };
  read.set(settings, fresh);
  return fresh;
}
