import type { Clock } from '../../lib/clock.js';
import { withDeadline } from '../../lib/deadline.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { ChannelSecrets, TypedSettings } from './channel.js';
import { DeliveryFailure, toDeliveryFailure } from './delivery-failure.js';
import type { SocketDeps } from './guarded-socket.js';
import type { Message } from './message.js';
import { sendEmail } from './send-email.js';
import { sendSlack, sendWebhook } from './send-hook.js';
import { sendSyslog } from './send-syslog.js';

export interface SenderDeps extends SocketDeps {
  readonly clock: Pick<Clock, 'sleep'> & Pick<FleetClock, 'wall' | 'fleet' | 'trustedTime'>;
  /** The manager's, as messages name it. */
  readonly node: string;
  readonly version: string;
  /** 30 s unless given. */
  readonly longestSendingMs?: number | undefined;
}

/** What every way of sending gets. */
export interface SendContext {
  readonly deps: SenderDeps;
  readonly secrets: ChannelSecrets;
  readonly signal: AbortSignal;
}

export interface Sending {
  readonly typed: TypedSettings;
  readonly secrets: ChannelSecrets;
  readonly message: Message;
}

/**
 * Sends one message over one channel, within the time that is allowed. Throws `DeliveryFailure`, whose text tells no secret;
 * resolves with one where only some of its recipients were refused: the others have it, and must not get it again.
 */
export type Sender = (sending: Sending, signal: AbortSignal) => Promise<DeliveryFailure | undefined>;

export const LONGEST_SENDING_MS = 30_000;

export function createSender(deps: SenderDeps): Sender {
  return async ({ typed, secrets, message }, outer) => {
    const reason = () => new DeliveryFailure('timeout', 'the receiver did not take it in time');
    const milliseconds = deps.longestSendingMs ?? LONGEST_SENDING_MS;
    const limits = { clock: deps.clock, milliseconds, signal: outer, reason };
    try {
      return await withDeadline(limits, (signal) => dispatch({ deps, secrets, signal }, typed, message));
    } catch (error) {
      throw toDeliveryFailure(error);
    }
  };
}

async function dispatch(
  context: SendContext,
  { type, settings }: TypedSettings,
  message: Message,
): Promise<DeliveryFailure | undefined> {
  if (type === 'email') return sendEmail(context, settings, message);
  if (type === 'webhook') await sendWebhook(context, settings, message);
  else if (type === 'slack') await sendSlack(context, settings, message);
  else await sendSyslog(context, settings, message);
  return undefined;
}
