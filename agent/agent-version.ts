import { arch, release, type } from 'node:os';

export const AGENT_VERSION = '0.1.0';

/** Operating system, kernel release and architecture. */
export function platform(): string {
  return `${type()} ${release()} ${arch()}`.slice(0, 128);
}
