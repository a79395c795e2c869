/** The version this build speaks, and the range it accepts: one older and one newer work. */
export const PROTOCOL_VERSION = 1;
export const OLDEST_PROTOCOL_VERSION = 1;
export const NEWEST_PROTOCOL_VERSION = 2;

/** Paths on the agent port. */
export const AGENT_PATHS = {
  enroll: '/agent/v1/enroll',
  heartbeat: '/agent/v1/heartbeat',
  channel: '/agent/v1/channel',
  upload: '/agent/v1/uploads',
  renew: '/agent/v1/renew',
} as const;

/** Paths on the agent's listener. */
export const LISTENER_PATHS = {
  heartbeat: '/listener/v1/heartbeat',
  renewal: '/listener/v1/renewal',
} as const;
