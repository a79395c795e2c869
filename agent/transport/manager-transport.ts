import { X509Certificate } from 'node:crypto';
import type { SecureContext, TLSSocket } from 'node:tls';

import { certificatesOf } from '../../certs/pem.js';
import { peerCertificates, verifyPeerPath } from '../../certs/verify-path.js';
import type { Clock } from '../../lib/clock.js';
import { withDeadline } from '../deadline.js';
import type { Identity } from '../data-directory.js';
import type { TimeAnchor } from '../state-store.js';
import {
  createConnection,
  createContext,
  openVerified,
  parseManagerUrl,
  type ManagerAddress,
  type ManagerConnection,
  type VerifiedSocket,
} from './tls-connection.js';
import { toTransportError, TransportError } from './transport-error.js';

export interface TransportOptions {
  readonly identity: Identity;
  readonly clock: Clock;
  readonly bootId: string;
  /** The last instant that the manager told, if any. */
  readonly anchor: () => TimeAnchor | undefined;
}

const SHORTEST_SHARE_MS = 2000;

/**
 * Opens connections to the managers of an ordered list. Each attempt begins at the URL that worked last, or at the one
 * after the last that failed. TLS sessions are resumed between exchanges; `rebuild` forgets all that is kept.
 */
export class ManagerTransport {
  readonly #options: TransportOptions;
  #addresses: readonly ManagerAddress[];
  #context: SecureContext;
  #cursor = 0;
  #sessions = new Map<string, Buffer>();
  /** By URL, what the last full handshake showed: a resumed session proves its key again, and its dates are judged anew. */
  readonly #judges = new Map<string, () => TransportError | undefined>();

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#addresses = parseAddresses(options.identity.managerUrls);
    this.#context = contextOf(options.identity);
  }

  get managerUrl(): string {
    return this.#addresses[this.#cursor % this.#addresses.length]?.url ?? '';
  }

  /** Drops TLS sessions and context; names are resolved anew at every connection anyway. */
  rebuild(): void {
    this.#sessions = new Map();
    this.#addresses = parseAddresses(this.#options.identity.managerUrls);
    this.#context = contextOf(this.#options.identity);
  }

  /** Opens a connection for requests; throws the last `TransportError`. */
  async connect(milliseconds: number, signal: AbortSignal): Promise<ManagerConnection> {
    return createConnection(await this.open(milliseconds, signal));
  }

  /** Tries the URLs in turn within `milliseconds`; throws the last `TransportError`. */
  async open(milliseconds: number, signal: AbortSignal): Promise<VerifiedSocket> {
    const { clock } = this.#options;
    const end = clock.monotonic() + milliseconds;
    let failure = new TransportError('unknown', 'No manager URL is known');
    for (let left = this.#addresses.length; left > 0; left -= 1) {
      const remaining = end - clock.monotonic();
      const address = this.#addresses[this.#cursor % this.#addresses.length];
      if (!address || remaining <= 0) break;
      const share = Math.min(remaining, Math.max(SHORTEST_SHARE_MS, remaining / left));
      try {
        return await this.#open(address, share, signal);
      } catch (error) {
        failure = toTransportError(error);
        this.#cursor = (this.#cursor + 1) % this.#addresses.length;
        this.#sessions.delete(address.url);
        if (signal.aborted) break;
      }
    }
    throw failure;
  }

  #open(address: ManagerAddress, milliseconds: number, outer: AbortSignal): Promise<VerifiedSocket> {
    const { clock } = this.#options;
    const session = this.#sessions.get(address.url);
    return withDeadline({ clock, milliseconds, signal: outer }, (signal) =>
      openVerified({
        address,
        signal,
        context: this.#context,
        session,
        verify: (socket) => this.#verify(socket, address),
        onSession: (fresh) => this.#sessions.set(address.url, fresh),
      }),
    );
  }

  #verify(socket: TLSSocket, { url }: ManagerAddress): TransportError | undefined {
    const judge = (socket.isSessionReused() ? this.#judges.get(url) : undefined) ?? judgeManager(socket, this.#options);
    this.#judges.set(url, judge);
    return judge();
  }
}

/** Reads the peer's certificates now; each call of the answer is `verifyManager` by the clocks of that moment. */
export function judgeManager(socket: TLSSocket, options: TransportOptions): () => TransportError | undefined {
  const peer = peerCertificates(socket);
  return () => {
    const { identity, clock, bootId, anchor } = options;
    const known = anchor();
    const trusted = known && known.bootId === bootId ? known.managerWall + clock.boot() - known.boot : undefined;
    return verifyManager(peer, { identity, wall: clock.wall(), trusted });
  };
}

function contextOf({ keyPem, certificatePem, rootPem }: Identity): SecureContext {
  return createContext({ key: keyPem, cert: certificatePem, ca: rootPem });
}

function parseAddresses(urls: readonly string[]): ManagerAddress[] {
  return urls.map(parseManagerUrl).filter((address) => address !== undefined);
}

interface VerifyFacts {
  readonly identity: Pick<Identity, 'rootPem' | 'trustDomain'>;
  readonly wall: number;
  /** An instant the manager vouched for since this boot. */
  readonly trusted: number | undefined;
}

/**
 * Throws unless the peer is a manager under our root. Dates count as wrong when they are so by the time the manager told
 * and by the wall clock, so that one clock set wrong, here or there, cuts nobody off; while the manager told none since
 * this boot, the wall clock alone is no proof. What was tolerated is answered.
 */
function verifyManager(
  peer: ReturnType<typeof peerCertificates>,
  { identity, wall, trusted }: VerifyFacts,
): TransportError | undefined {
  if (!peer) throw new TransportError('tls-unknown-ca', 'The manager presented no certificate');
  const path = {
    ...peer,
    roots: certificatesOf(identity.rootPem).map((der) => new X509Certificate(der)),
    trustDomain: identity.trustDomain,
    role: 'manager' as const,
  };
  const verdict = verifyPeerPath({ ...path, at: trusted ?? wall });
  if (verdict.ok) return undefined;
  const code = verdict.reason === 'profile' ? 'tls-unknown-ca' : verdict.reason;
  const error = new TransportError(code, verdict.detail);
  const isDate = verdict.reason === 'tls-expired' || verdict.reason === 'tls-not-yet-valid';
  if (isDate && (trusted === undefined || verifyPeerPath({ ...path, at: wall }).ok)) return error;
  throw error;
}
