import type { VerifiedPeer } from '../../certs/verify-path.js';
import { parseBoundedJson } from '../../lib/bounded-json.js';
import { Problem } from '../../lib/problem.js';
import { readBy } from '../../lib/schema.js';
import { LISTENER_PATHS, PROTOCOL_VERSION } from '../../protocol/protocol-version.js';
import { renewRequestSchema, type ListenerRenewalCall, type RenewRequest } from '../../protocol/renewal-messages.js';
import type { LateRenewals } from '../certificates/late-renewals.js';
import type { ListenerConnection } from './dial-connection.js';
import { DialFailure, OwnFailure } from './dial-failure.js';

export interface DialledRenewal {
  readonly connection: ListenerConnection;
  readonly signal: AbortSignal;
  /** Of which nothing but the end of its certificate is wrong. */
  readonly peer: VerifiedPeer;
  readonly renewLate: LateRenewals['renew'];
}

/**
 * Renews the expired certificate of an agent that was dialled, with its own key. Ends in an `OwnFailure`, so that the agent is
 * dialled again soon, or in the `DialFailure` that the certificate has expired.
 */
export async function renewOverDial({ connection, signal, peer, renewLate }: DialledRenewal): Promise<never> {
  const greeting: ListenerRenewalCall = { protocolVersion: PROTOCOL_VERSION, computerId: peer.id };
  const post = (call: ListenerRenewalCall) => connection.post(JSON.stringify(call), signal, LISTENER_PATHS.renewal);
  const bytes = await post(greeting).catch((error: unknown) => {
    // One that knows no renewal answers so.
    throw error instanceof DialFailure && error.code === 'protocol' ? notRenewed(error.message, error) : error;
  });
  const { certificate, chain } = await renew(() => renewLate(peer, readRequest(bytes)));
  await post({ ...greeting, renewed: { certificate, chain } });
  throw new OwnFailure('the expired certificate of the agent was renewed');
}

async function renew<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.code === 'unavailable') throw new OwnFailure('renewals wait');
    throw notRenewed(error.facts.detail ?? error.code, error);
  }
}

function readRequest(bytes: Buffer | null): RenewRequest {
  try {
    return readBy(renewRequestSchema, parseBoundedJson(bytes ?? Buffer.alloc(0)));
  } catch (error) {
    throw notRenewed('the agent asked for nothing', error);
  }
}

function notRenewed(why: string, cause: unknown): DialFailure {
  return new DialFailure('tls-expired', `the leaf has expired and is not renewed: ${why}`.slice(0, 1024), cause);
}
