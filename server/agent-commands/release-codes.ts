import { createHmac } from 'node:crypto';

import { formatReleaseCode, releaseDigestOf } from '../../protocol/release-code.js';

/**
 * The code by which an isolation is ended at the computer itself, one for each command that isolates one: computed from
 * the fleet's secret whenever it is asked for, and stored nowhere.
 */
export interface ReleaseCodes {
  codeOf(computerId: string, commandId: string): string;
  /** What the agent is told of it. */
  digestOf(computerId: string, commandId: string): string;
}

export function createReleaseCodes(fleetSecret: Buffer): ReleaseCodes {
  const codeOf = (computerId: string, commandId: string): string =>
    formatReleaseCode(createHmac('sha256', fleetSecret).update(`release\n${computerId}\n${commandId}`).digest());
  return { codeOf, digestOf: (computerId, commandId) => releaseDigestOf(codeOf(computerId, commandId)) };
}
