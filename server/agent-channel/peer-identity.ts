import { createHash, type X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import {
  peerCertificates,
  verifyPeerPath,
  type PathRefusal,
  type RefusedPeer,
  type VerifiedPeer,
} from '../../certs/verify-path.js';
import { Problem } from '../../lib/problem.js';
import { toRfc3339 } from '../../lib/clock.js';

/** Which computer a connection's certificate proves; the dates are judged again with every request. */
export interface PeerIdentity {
  readonly computerId: string;
  /** Lower-case hex. */
  readonly serial: string;
  /** Unix milliseconds. */
  readonly notBefore: number;
  readonly notAfter: number;
}

export type PeerState =
  | { readonly kind: 'absent' }
  | {
      readonly kind: 'refused';
      readonly reason: PathRefusal;
      readonly detail: string;
      /** What the certificate says, by its signatures: only its dates are wrong. */
      readonly proven?: VerifiedPeer;
    }
  | { readonly kind: 'identified'; readonly identity: PeerIdentity };

export interface PeerVerifierOptions {
  readonly root: X509Certificate;
  readonly intermediateDer: Buffer;
  readonly trustDomain: string;
  /** Trusted time in Unix milliseconds: fleet clock, not a stepped wall clock. */
  readonly trustedNow: () => number;
  /** Verified leaves that are remembered by digest. */
  readonly cacheSize?: number;
}

export interface PeerVerifier {
  /** Reads the peer's certificate once, at `secureConnection`; what the TLS library thinks of it is never asked. */
  verify(socket: TLSSocket): PeerState;
}

const ABSENT: PeerState = { kind: 'absent' };

export function createPeerVerifier(options: PeerVerifierOptions): PeerVerifier {
  const { root, intermediateDer, trustDomain, trustedNow, cacheSize = 20_000 } = options;
  const verified = new Map<string, PeerIdentity>();

  const remember = (digest: string, identity: PeerIdentity): void => {
    verified.set(digest, identity);
    if (verified.size <= cacheSize) return;
    const [oldest] = verified.keys();
    if (oldest !== undefined) verified.delete(oldest);
  };

  const verify = (socket: TLSSocket): PeerState => {
    const leafDer = socket.getPeerX509Certificate()?.raw;
    if (!leafDer) return ABSENT;
    const digest = createHash('sha256').update(leafDer).digest('base64');
    const known = verified.get(digest);
    // Issuers outlive the leaves they sign, so inside the leaf's dates the remembered path still holds.
    if (known && isWithinDates(known, trustedNow())) return { kind: 'identified', identity: known };
    const presented = peerCertificates(socket)?.intermediates ?? [];
    const verdict = verifyPeerPath({
      leafDer,
      intermediates: [intermediateDer, ...presented],
      roots: [root],
      trustDomain,
      role: 'computer',
      at: trustedNow(),
    });
    if (!verdict.ok) return refusedPeer(verdict);
    const { id, serial, notBefore, notAfter } = verdict;
    const identity = { computerId: id, serial, notBefore, notAfter };
    remember(digest, identity);
    return { kind: 'identified', identity };
  };

  return {
    verify(socket) {
      try {
        return verify(socket);
      } catch {
        // Runs in an event handler, on bytes that a stranger chose: what OpenSSL took but Node cannot show is refused.
        return { kind: 'refused', reason: 'profile', detail: 'the certificate cannot be read' };
      }
    },
  };
}

function refusedPeer({ reason, detail, proven }: RefusedPeer): PeerState {
  return {
    kind: 'refused',
    reason,
    detail,
    ...(proven === undefined ? {} : { proven }),
  };
}

/** The computer that a peer's certificate proves, also where its dates are wrong; undefined for everybody else. */
export function provenComputerOf(state: PeerState): string | undefined {
  if (state.kind === 'identified') return state.identity.computerId;
  return state.kind === 'refused' ? state.proven?.id : undefined;
}

function isWithinDates({ notBefore, notAfter }: PeerIdentity, at: number): boolean {
  return at >= notBefore && at <= notAfter;
}

/**
 * The identity of a request, or the refusal: `certificate-required`, `clock-skew` where only the dates are wrong (with
 * the manager's time), `certificate-refused` for everything else.
 */
export function identityOf(state: PeerState, at: number): PeerIdentity {
  if (state.kind === 'absent')
    throw new Problem('certificate-required', { detail: 'Present the certificate that enrollment gave.' });
  if (state.kind === 'identified') {
    if (isWithinDates(state.identity, at)) return state.identity;
    throw clockSkew(at > state.identity.notAfter ? 'tls-expired' : 'tls-not-yet-valid', at);
  }
  if (state.reason === 'tls-expired' || state.reason === 'tls-not-yet-valid') throw clockSkew(state.reason, at);
  throw new Problem('certificate-refused', { detail: `The certificate is refused: ${state.detail}.` });
}

function clockSkew(reason: 'tls-expired' | 'tls-not-yet-valid', at: number): Problem {
  const detail = reason === 'tls-expired' ? 'The certificate has expired' : 'The certificate is not valid yet';
  return new Problem('clock-skew', {
    detail: `${detail} by the manager's time ${toRfc3339(at)}.`,
    members: { managerTime: at, reason },
  });
}

/**
 * The bearer of a certificate of which nothing but its end is wrong, for a renewal; throws what `identityOf` does for
 * everybody else, and `renewal-refused` where the certificate has not expired.
 */
export function expiredPeerOf(state: PeerState, at: number): VerifiedPeer {
  if (state.kind === 'refused' && state.reason === 'tls-expired' && state.proven) return state.proven;
  identityOf(state, at);
  throw new Problem('renewal-refused', { detail: 'The certificate has not expired: carry the request in a report.' });
}
