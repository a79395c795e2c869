import type { Log } from '../../lib/log.js';
import { Problem } from '../../lib/problem.js';
import type { Random } from '../../lib/random.js';
import { drainedReturnMs, shareOf } from '../../policies/drain-rules.js';
import { shedRetryAfterSeconds } from '../../policies/herd-rules.js';
import { CHANNEL_CLOSE } from '../../protocol/channel-messages.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { ManagerDrain } from '../system/drain.js';
import type { HeldChannels } from './held-channels.js';

export interface ChannelClosingDeps {
  readonly fleetClock: FleetClock;
  readonly random: Random;
  readonly log: Log;
  readonly drain: Pick<ManagerDrain, 'period'>;
  readonly held: HeldChannels;
}

/** Ends channels before the manager goes: slowly while it drains, and each with the instant of its return. */
export interface ChannelClosing {
  /** Throws `unavailable` once the manager means to go. */
  assertRoom(): void;
  /** To be called every `CLOSING_EVERY_MS`: ends as many as are due while the manager drains. */
  endSome(): void;
  /** Ends all that are left; none is taken any more. */
  endAll(): void;
}

export const CLOSING_EVERY_MS = 100;
const CLOSING_MARGIN_MS = 1000;
/** A manager that stops without a drain is back in a few seconds, and gets its agents back one after the other. */
const RESTART_MS = 2000;
const RETURN_SPREAD_MS = 10_000;

export function createChannelClosing({ fleetClock, random, log, drain, held }: ChannelClosingDeps): ChannelClosing {
  let isOver = false;
  let returned = 0;
  let refused = 0;
  return {
    assertRoom() {
      if (!isOver && !drain.period()) return;
      const detail = 'The manager is about to stop: use a request of its own for each heartbeat.';
      refused += 1;
      throw new Problem('unavailable', { detail, retryAfterSeconds: shedRetryAfterSeconds('channel', refused) });
    },
    endSome() {
      const period = drain.period();
      if (!period) return;
      const at = fleetClock.fleet();
      const channels = held.open();
      const left = Math.max(0, period.endsAt - CLOSING_MARGIN_MS - at);
      const count = left === 0 ? channels.length : Math.ceil((channels.length * CLOSING_EVERY_MS) / left);
      for (const channel of channels.slice(0, count)) {
        returned += 1;
        const returnInMs = drainedReturnMs(at, period, shareOf(returned));
        channel.end({ reason: 'manager-drains', code: CHANNEL_CLOSE.restarting, returnInMs });
      }
    },
    endAll() {
      isOver = true;
      const channels = held.all();
      if (channels.length > 0) log.info({ channels: channels.length }, 'Held connections are closed');
      for (const channel of channels) {
        const returnInMs = RESTART_MS + random.fraction() * RETURN_SPREAD_MS;
        channel.end({ reason: 'manager-restarts', code: CHANNEL_CLOSE.restarting, returnInMs });
      }
    },
  };
}
