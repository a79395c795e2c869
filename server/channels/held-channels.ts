import type { WebSocket } from 'ws';
import type { Clock } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import type { Random } from '../../lib/random.js';
import { CHANNEL_CLOSE, type WakeReason } from '../../protocol/channel-messages.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { ChannelEnd } from './channel-rules.js';
import type { ChannelRecorder } from './channel-recorder.js';
import type { ChannelPeer } from './channels.js';
import { FIRST_RHYTHM } from './channel-settings.js';
import { ManagerChannel, type PingRhythm } from './manager-channel.js';

export interface HeldChannelsDeps {
  readonly clock: Pick<Clock, 'sleep'>;
  readonly fleet: () => FleetInstant;
  readonly random: Random;
  readonly log: Log;
  readonly recorder: ChannelRecorder;
  /** A computer has reported, or holds no channel any more. */
  readonly onFree: (computerId: string) => void;
}

const TICK_MS = 1000;

/** The connections that this process holds: one of each computer counts, the newest. */
export class HeldChannels {
  readonly #deps: HeldChannelsDeps;
  readonly #open = new Map<string, ManagerChannel>();
  /** Those too that have proven nothing yet, or are being closed. */
  readonly #all = new Set<ManagerChannel>();
  readonly #ended: Record<string, number> = {};
  readonly #stopping = new AbortController();
  #ticking: Promise<void> | undefined;
  #opened = 0;
  #unansweredWakes = 0;

  constructor(deps: HeldChannelsDeps) {
    this.#deps = deps;
  }

  readonly counts = {
    open: () => this.#open.size,
    opened: () => this.#opened,
    unansweredWakes: () => this.#unansweredWakes,
    ended: () => this.#ended,
  };

  accept(socket: WebSocket, peer: ChannelPeer): void {
    const { random, log } = this.#deps;
    const channel = new ManagerChannel(socket, peer, {
      random,
      log,
      rhythm: FIRST_RHYTHM,
      onProven: (proven) => this.#proven(proven),
      onAnswered: ({ computerId }) => this.#deps.onFree(computerId),
      onEnded: (ended, end) => this.#endedNow(ended, end),
      onUnansweredWake: () => void (this.#unansweredWakes += 1),
    });
    this.#all.add(channel);
  }

  /** Of the certificate that the computer's channel was opened with; undefined where it holds none here. */
  serialOf(computerId: string): string | undefined {
    return this.#open.get(computerId)?.serial;
  }

  /** False where this process holds no channel of the computer. */
  wake(computerId: string, reason: WakeReason): boolean {
    const channel = this.#open.get(computerId);
    channel?.wake(reason);
    return channel !== undefined;
  }

  cut(computerId: string, reason: string): void {
    this.#open.get(computerId)?.end({ reason, code: CHANNEL_CLOSE.refused });
  }

  follow(computerId: string, rhythm: PingRhythm): void {
    this.#open.get(computerId)?.follow(rhythm);
  }

  /** A view: those that open or end meanwhile may be missing. */
  open(): readonly ManagerChannel[] {
    return [...this.#open.values()];
  }

  /** Every connection, those included that have proven nothing. */
  all(): readonly ManagerChannel[] {
    return [...this.#all];
  }

  start(): void {
    this.#ticking ??= this.#tick(this.#stopping.signal);
  }

  /** Resolves when all are gone; whoever stops has ended them. */
  async stop(): Promise<void> {
    while (this.#all.size > 0) await this.#deps.clock.sleep(TICK_MS / 20);
    this.#stopping.abort();
    await this.#ticking;
  }

  async #tick(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#deps.clock.sleep(TICK_MS, signal).catch(() => undefined);
      for (const channel of this.#all) channel.tick();
    }
  }

  #proven(channel: ManagerChannel): void {
    const { recorder, fleet } = this.#deps;
    const { computerId } = channel;
    this.#opened += 1;
    const before = this.#open.get(computerId);
    this.#open.set(computerId, channel);
    before?.end({ reason: 'replaced', code: CHANNEL_CLOSE.replaced });
    recorder.note({ computerId, state: 'open', at: fleet(), reason: null });
  }

  #endedNow(channel: ManagerChannel, { reason }: ChannelEnd): void {
    const { recorder, fleet, onFree } = this.#deps;
    const { computerId } = channel;
    this.#all.delete(channel);
    this.#ended[reason] = (this.#ended[reason] ?? 0) + 1;
    if (this.#open.get(computerId) !== channel) return;
    this.#open.delete(computerId);
    onFree(computerId);
    recorder.note({ computerId, state: 'closed', at: fleet(), reason });
  }
}
