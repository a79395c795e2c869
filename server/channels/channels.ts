import type { WebSocket } from 'ws';
import type { Orders } from '../../protocol/heartbeat-messages.js';
import type { ReportMessage, WakeReason } from '../../protocol/channel-messages.js';

/** How the rest of the manager reaches an agent before its time, where it holds a channel. */
export interface ChannelWakes {
  /**
   * Wakes the agents that hold a channel, whichever process holds it, so that they begin an exchange now; `standing`
   * looks whether the computer still counts, and cuts its channel where it does not. A hint: it never fails, may be
   * repeated, and what is lost is found by a poll.
   */
  wake(computerIds: readonly string[], reason: WakeReason): void;
}

/** Where nothing is held. */
export const NO_CHANNEL_WAKES: ChannelWakes = { wake: () => undefined };

/** The computer at the other end of a WebSocket, as its TLS connection proved it. */
export interface ChannelPeer {
  readonly computerId: string;
  /** Lower-case hex. */
  readonly serial: string;
  /** Throws why the certificate does not count at this moment. */
  readonly assertValid: () => void;
  /** Counts a message before it is read; throws `too-many-requests`. */
  readonly admitMessage: () => void;
  /** Stores a report and answers its orders; throws a Problem. */
  readonly submit: (report: ReportMessage) => Promise<Orders>;
  /** Bytes that were read of the connection so far. */
  readonly bytesRead: () => number;
  /** Bytes of answers that the peer has not taken yet. */
  readonly bytesUnread: () => number;
}

export interface ChannelCounts {
  /** Open at this moment: their first report was stored. */
  readonly open: () => number;
  /** Agents that wait for their turn to be woken. */
  readonly waiting: () => number;
  /** Since the start. */
  readonly opened: () => number;
  readonly wakes: () => number;
  readonly unansweredWakes: () => number;
  /** By why they ended. */
  readonly ended: () => Readonly<Record<string, number>>;
}

/** The held connections of this process. */
export interface Channels extends ChannelWakes {
  readonly counts: ChannelCounts;
  /** Throws `unavailable` where no connection is held any more. */
  assertRoom(): void;
  accept(socket: WebSocket, peer: ChannelPeer): void;
  /** Nothing of the life before is shown as open; wakes of other processes are heard. */
  start(): Promise<void>;
  /** Ends all channels once what is in flight is answered, and tells agents when to come back. */
  stop(): Promise<void>;
}
