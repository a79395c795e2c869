import type { Log } from '../../lib/log.js';
import type { Random } from '../../lib/random.js';
import type { HotTransaction } from '../database/hot-transaction.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { ClaimedJob } from '../scheduler/claimed-job.js';
import { findChannel, noteAttempt } from './channel-repository.js';
import { openSecrets } from './channel-service.js';
import { DeliveryFailure, toDeliveryFailure } from './delivery-failure.js';
import {
  claimDeliveries,
  endAttempt,
  isAnythingDue,
  releaseDelivery,
  wakeChannel,
  type ClaimedDelivery,
  type DeliveryState,
} from './delivery-repository.js';
import type { MessageReader } from './message-reader.js';
import { enqueueReminders } from './reminders.js';
import { nextAttemptAt } from './retry-rules.js';
import type { SecretBox } from './secret-box.js';
import { LONGEST_SENDING_MS, type Sender, type Sending } from './sender.js';

export interface DelivererDeps {
  /** One of all managers sends at a time. */
  readonly job: ClaimedJob;
  readonly inTransaction: HotTransaction;
  /** Reads outside a transaction. */
  readonly sql: Sql;
  readonly fleetClock: Pick<FleetClock, 'fleet' | 'monotonic' | 'sleep'>;
  readonly random: Random;
  readonly log: Log;
  readonly box: SecretBox;
  readonly read: MessageReader;
  readonly send: Sender;
}

export interface Deliverer {
  /** Begins to send what is due; does not wait for it, so that no channel waits for another. */
  run(signal: AbortSignal): Promise<void>;
  /** Told whenever a channel is free again, which may have more to send. */
  onFree(listener: () => void): void;
  /** Resolves when nothing is being sent. */
  idle(): Promise<void>;
  /** Lets what is being sent end for a moment, interrupts the rest, and gives the job back. */
  close(): Promise<void>;
}

/** Channels that are served at a time: one message each. */
const CHANNELS_AT_ONCE = 16;
const CLAIMED_MS = 2 * LONGEST_SENDING_MS;
const CLOSE_MS = 5000;

export function createDeliverer(deps: DelivererDeps): Deliverer {
  return new QueueDeliverer(deps);
}

class QueueDeliverer implements Deliverer {
  readonly #deps: DelivererDeps;
  readonly #stopping = new AbortController();
  /** What is being sent, by channel. */
  readonly #sending = new Map<string, Promise<void>>();
  readonly #failing = new Set<string>();
  #free: () => void = () => undefined;

  constructor(deps: DelivererDeps) {
    this.#deps = deps;
  }

  onFree(listener: () => void): void {
    this.#free = listener;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { sql, job, fleetClock, random } = this.#deps;
    const limit = CHANNELS_AT_ONCE - this.#sending.size;
    const busy = [...this.#sending.keys()];
    if (signal.aborted || this.#stopping.signal.aborted || limit <= 0) return;
    if (!(await isAnythingDue(sql, fleetClock.fleet(), busy))) return;
    const claimed = await job.run(async (inside) => {
      const now = fleetClock.fleet();
      await enqueueReminders(inside, now, random);
      return claimDeliveries(inside, { now, until: now + CLAIMED_MS, busy, limit });
    });
    for (const delivery of claimed?.value ?? []) this.#begin(delivery);
  }

  #begin(delivery: ClaimedDelivery): void {
    const { log } = this.#deps;
    const sending = this.#deliver(delivery)
      .catch((error: unknown) =>
        log.error({ err: error, delivery: delivery.id }, 'a delivery was not recorded; it is tried again'),
      )
      .finally(() => {
        this.#sending.delete(delivery.channelId);
        if (!this.#stopping.signal.aborted) this.#free();
      });
    this.#sending.set(delivery.channelId, sending);
  }

  async #deliver(delivery: ClaimedDelivery): Promise<void> {
    const { fleetClock, inTransaction } = this.#deps;
    const { signal } = this.#stopping;
    const prepared = await this.#prepare(delivery);
    const begunAt = fleetClock.monotonic();
    const { failure, refused } =
      prepared instanceof DeliveryFailure ? { failure: prepared } : await this.#attempt(prepared);
    // An attempt that the stop has ended says nothing of the channel.
    if (failure && signal.aborted) return inTransaction((sql) => releaseDelivery(sql, delivery));
    const durationMs = Math.round(fleetClock.monotonic() - begunAt);
    await inTransaction((sql) => this.#record(sql, delivery, { failure, refused, durationMs }));
    this.#tell(delivery, { failure, refused });
  }

  /** Reads what is sent. A database that is away is no fault of the channel: that throws, and the claim runs out. */
  async #prepare(delivery: ClaimedDelivery): Promise<Sending | DeliveryFailure> {
    const { sql, box, read } = this.#deps;
    const channel = await findChannel(sql, delivery.channelId);
    if (!channel) return new DeliveryFailure('channel-removed', 'the channel was deleted');
    const message = await read(sql, delivery);
    try {
      return { typed: channel, secrets: openSecrets(box, channel), message };
    } catch (error) {
      return toDeliveryFailure(error);
    }
  }

  async #attempt(sending: Sending): Promise<Pick<Outcome, 'failure' | 'refused'>> {
    try {
      return { refused: await this.#deps.send(sending, this.#stopping.signal) };
    } catch (error) {
      return { failure: toDeliveryFailure(error) };
    }
  }

  async #record(sql: Sql, delivery: ClaimedDelivery, { failure, refused, durationMs }: Outcome): Promise<void> {
    const { channelId } = delivery;
    const at = this.#deps.fleetClock.fleet();
    const delivered = { ...DELIVERED, error: refused ? textOf(refused) : null };
    const end = failure ? this.#afterFailure(delivery, failure, at) : delivered;
    // The channel before its messages, as its removal has it.
    await noteAttempt(sql, { channelId, at, isDelivered: !failure, error: end.error });
    await endAttempt(sql, { dueAt: at, ...end, delivery, at, durationMs });
    if (!failure) await wakeChannel(sql, channelId, at);
  }

  #afterFailure(delivery: ClaimedDelivery, failure: DeliveryFailure, now: FleetInstant) {
    const dueAt = nextAttemptAt({ ...delivery, failure, now }, this.#deps.random);
    const isLost = failure.code === 'channel-removed' || dueAt === undefined;
    const state: DeliveryState = isLost ? 'dead' : 'failed';
    return { state, error: textOf(failure), dueAt: dueAt ?? now, awaitsChannel: failure.isOfChannel };
  }

  /** A channel's trouble is told once, and its end. */
  #tell({ channelId, id }: ClaimedDelivery, { failure, refused }: Pick<Outcome, 'failure' | 'refused'>): void {
    const { log } = this.#deps;
    const trouble = failure ?? refused;
    if (!trouble) {
      if (this.#failing.delete(channelId)) log.info({ channel: channelId }, 'a notification channel works again');
      return;
    }
    if (this.#failing.has(channelId)) return;
    this.#failing.add(channelId);
    const { code, detail } = trouble;
    const said = failure ? 'a notification could not be delivered' : 'a notification did not reach everybody';
    log.warn({ channel: channelId, delivery: id, code, detail }, said);
  }

  async idle(): Promise<void> {
    while (this.#sending.size > 0) await Promise.all(this.#sending.values());
  }

  async close(): Promise<void> {
    const grace = new AbortController();
    const late = this.#deps.fleetClock.sleep(CLOSE_MS, grace.signal).catch(() => undefined);
    await Promise.race([this.idle(), late]);
    grace.abort();
    this.#stopping.abort(new DeliveryFailure('unknown', 'the manager is stopping'));
    await this.idle();
    await this.#deps.job.release();
  }
}

const DELIVERED = { state: 'delivered', awaitsChannel: false } as const;

function textOf({ code, detail }: DeliveryFailure): string {
  return `${code}: ${detail}`;
}

interface Outcome {
  readonly failure?: DeliveryFailure | undefined;
  /** It arrived, but not everywhere. */
  readonly refused?: DeliveryFailure | undefined;
  readonly durationMs: number;
}
