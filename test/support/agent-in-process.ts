import { basename } from 'node:path';

import type { AgentOptions } from '../../agent/agent-options.js';
import { composeAgent } from '../../agent/compose.js';
import type { Daemon } from '../../agent/daemon.js';
import type { DataDirectory } from '../../agent/data-directory.js';
import { enroll, type EnrollmentOptions } from '../../agent/enroll.js';
import { parseManagerUrl } from '../../agent/transport/tls-connection.js';
import { createSystemClock, readBootId } from '../../lib/clock.js';
import { createLog } from '../../lib/log.js';
import { createSystemRandom } from '../../lib/random.js';

/** Where an agent enrolls: a fake manager, or what stands for one. */
interface Enrolling {
  readonly url: string;
  readonly token: string;
}

/** Enrolls a directory within this process; the computer is named as the directory. */
export function enrollInProcess(
  directory: DataDirectory,
  { url, token }: Enrolling,
  more: Partial<Pick<EnrollmentOptions, 'clock' | 'local' | 'onEnrolled'>> = {},
): ReturnType<typeof enroll> {
  return enroll({
    directory,
    manager: parseManagerUrl(url)!,
    token,
    name: basename(directory.path),
    agentVersion: '0.1.0',
    platform: 'test',
    clock: createSystemClock(),
    ...more,
  });
}

/** The agent of an enrolled directory within this process, not started yet; `TEST_LOG` is its log level. */
export function composeInProcess(directory: DataDirectory, options: Partial<AgentOptions> = {}): Promise<Daemon> {
  const level = (process.env['TEST_LOG'] as 'debug' | undefined) ?? 'silent';
  return composeAgent({
    directory,
    clock: createSystemClock(),
    random: createSystemRandom(),
    log: createLog({ name: 'test', level }),
    bootId: readBootId(),
    clockDetection: false,
    inventory: false,
    ...options,
  });
}
