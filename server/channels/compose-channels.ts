import { setMaxListeners } from 'node:events';
import type { Lifecycle } from '../../lib/lifecycle.js';
import type { Log } from '../../lib/log.js';
import type { Random } from '../../lib/random.js';
import { toWakeReason, type WakeReason } from '../../protocol/channel-messages.js';
import type { HotTransaction } from '../database/hot-transaction.js';
import {
  computersOfNotice,
  createNotificationWatch,
  notifyOfComputers,
  type ListeningClient,
} from '../database/notification-watch.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { PolicySettingsCache } from '../policies/cached-settings.js';
import type { ManagerDrain } from '../system/drain.js';
import { CLOSING_EVERY_MS, createChannelClosing } from './channel-closing.js';
import { createChannelLook, POLL_MS } from './channel-look.js';
import { createChannelRecorder } from './channel-recorder.js';
import { closeFormer, findHeldElsewhere, readGeneration } from './channel-repository.js';
import type { Channels } from './channels.js';
import { HeldChannels } from './held-channels.js';
import { createWakeQueue } from './wake-queue.js';

export interface ChannelsDeps {
  readonly fleetClock: FleetClock;
  readonly random: Random;
  readonly log: Log;
  /** Reads outside a transaction. */
  readonly sql: Sql;
  readonly inTransaction: HotTransaction;
  readonly connect: () => Promise<ListeningClient>;
  readonly settings: PolicySettingsCache;
  /** This process's name in the listening ledger. */
  readonly node: string;
  readonly drain: Pick<ManagerDrain, 'period'>;
  /** The share of the report queue that is in use, 0 to 1. */
  readonly load: () => number;
}

/** The notifications by which processes ask each other to wake: a reason, a colon, ids. */
const CHANNEL = 'wardbeat_channels';

/** The manager's side of held connections: who holds one, who is woken, and how they end. */
export function composeChannels(deps: ChannelsDeps): Channels {
  const parts = composeParts(deps);
  const { held, queue, look, closing, wakes } = parts;
  const wakeOwn = (computerIds: readonly string[], reason: WakeReason): void => {
    if (reason === 'standing') return void look.at(computerIds);
    queue.add(
      computerIds.filter((id) => held.serialOf(id) !== undefined),
      reason,
    );
  };
  return {
    counts: { ...held.counts, waiting: () => queue.waiting(), wakes },
    wake(computerIds, reason) {
      wakeOwn(computerIds, reason);
      void tellOthers(deps, computerIds, reason);
    },
    assertRoom: () => closing.assertRoom(),
    accept: (socket, peer) => held.accept(socket, peer),
    ...lifecycleOf(deps, parts, wakeOwn),
  };
}

function composeParts(deps: ChannelsDeps) {
  const { fleetClock, random, log, sql, inTransaction, settings, node } = deps;
  const key = { listener: node, generation: 0 };
  const recorder = createChannelRecorder({ clock: fleetClock, log, inTransaction, key: () => key });
  const fleet = () => Math.floor(fleetClock.fleet());
  const onFree = (computerId: string) => queue.release(computerId);
  const held = new HeldChannels({ clock: fleetClock, random, log, fleet, recorder, onFree });
  let wakes = 0;
  const send = (computerId: string, reason: WakeReason): boolean => {
    wakes += 1;
    return held.wake(computerId, reason);
  };
  const queue = createWakeQueue({ clock: fleetClock, load: deps.load, send });
  const look = createChannelLook({ sql, log, settings, held, queue, key: () => key });
  const closing = createChannelClosing({ fleetClock, random, log, drain: deps.drain, held });
  return { key, recorder, held, queue, look, closing, wakes: () => wakes };
}

type Wake = (computerIds: readonly string[], reason: WakeReason) => void;

function lifecycleOf(deps: ChannelsDeps, parts: ReturnType<typeof composeParts>, wake: Wake): Lifecycle {
  const { fleetClock: clock, log, connect, sql, inTransaction, settings, node } = deps;
  const { key, recorder, held, queue, look, closing } = parts;
  const onMessage = (payload: string) => hear(payload, wake);
  const watch = createNotificationWatch({ channel: CHANNEL, clock, log, connect, onMessage });
  const stopping = new AbortController();
  setMaxListeners(0, stopping.signal);
  let loops: Promise<unknown> = Promise.resolve();
  const every = async (ms: number, action: () => Promise<void> | void): Promise<void> => {
    while (!stopping.signal.aborted) {
      await clock.sleep(ms, stopping.signal).catch(() => undefined);
      if (stopping.signal.aborted) return;
      try {
        await action();
      } catch (error) {
        log.error({ err: error }, 'Channels could not be looked after; tried again');
      }
    }
  };
  return {
    async start() {
      key.generation = await readGeneration(sql, node);
      await inTransaction((tx) => closeFormer(tx, key, clock.fleet()));
      settings.onChange(() => void look.atEdits());
      await look.atEdits();
      held.start();
      loops = Promise.all([every(CLOSING_EVERY_MS, () => closing.endSome()), every(POLL_MS, () => look.atNext())]);
      await watch.start();
    },
    async stop() {
      await watch.stop();
      stopping.abort();
      await loops;
      closing.endAll();
      await queue.stop();
      await held.stop();
      await recorder.stop();
    },
  };
}

function hear(payload: string, wake: Wake): void {
  const [name = '', ids = ''] = payload.split(':');
  const reason = toWakeReason(name);
  if (reason) wake(computersOfNotice(ids), reason);
}

async function tellOthers(
  { sql, node, log }: ChannelsDeps,
  computerIds: readonly string[],
  reason: WakeReason,
): Promise<void> {
  try {
    const elsewhere = await findHeldElsewhere(sql, computerIds, node);
    await notifyOfComputers(sql, { channel: CHANNEL, prefix: `${reason}:` }, elsewhere);
  } catch (error) {
    log.debug({ err: error, reason }, 'Other processes could not be asked to wake');
  }
}
