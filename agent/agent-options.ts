import type { Clock } from '../lib/clock.js';
import type { Log } from '../lib/log.js';
import type { Random } from '../lib/random.js';
import type { HostCollectors } from './collectors/host-collectors.js';
import type { CommunicationDirection } from '../policies/setting-values.js';
import type { DataDirectory } from './data-directory.js';
import type { PacketFilter } from './firewall/nft-program.js';
import type { LogTail } from './log-tail.js';
import type { ListenerTimeouts } from './listener/listener-server.js';
import type { ContactState } from './heartbeat-loop.js';

export interface AgentOptions {
  readonly directory: DataDirectory;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly bootId: string;
  readonly clockDetection: boolean;
  /** Shared by the agents of a fleet; each builds its own otherwise. */
  readonly collectors?: HostCollectors;
  /** Whether its own collectors look at packages and sockets too; true unless given. */
  readonly inventory?: boolean;
  /** Where to listen instead of the settings' `listenerPort`; 0 picks a free port. */
  readonly listenerPort?: number;
  readonly listenerTimeouts?: ListenerTimeouts;
  /** How an agent that has never been in contact begins, whatever its enrollment said. */
  readonly firstDirection?: CommunicationDirection;
  /** The machine's packet filter; absent, the agent keeps its hands off it. Of the agents of a machine one may have it. */
  readonly packetFilter?: PacketFilter;
  /** The last lines of the log, where it is this agent's own. */
  readonly logTail?: LogTail;
  /** Ends this process so that another takes its place; absent where the agent is a part of another process. */
  readonly restart?: () => void;
  /** Many agents of one process make their attempts in turns: on machines of their own they would not wait for each other. */
  readonly inTurn?: (attempt: () => Promise<void>) => Promise<void>;
  readonly onStateChange?: (state: ContactState) => void;
  /** Told whenever the heartbeat loop gets on, exchanges aside at least every `longestSilenceMs`. */
  readonly onProgress?: (() => void) | undefined;
  readonly longestSilenceMs?: number | undefined;
  /** Where metrics are served on loopback; not at all unless given. */
  readonly metricsPort?: number;
}
