import { arch, release, type } from 'node:os';

import { VERSION } from '../lib/version.js';

export const AGENT_VERSION = VERSION;

/** Operating system, kernel release and architecture. */
export function platform(): string {
  return `${type()} ${release()} ${arch()}`.slice(0, 128);
}
