import type { TLSSocket } from 'node:tls';
import { plainAddress } from '../../lib/plain-address.js';

/** What a connection shows of its peer beside the certificate. */
export interface ConnectionFacts {
  /** The remote IP address; IPv4 without the IPv6 mapping. */
  readonly address: string | null;
  readonly tls: { readonly version: string | null; readonly cipher: string | null };
}

export function connectionFactsOf(socket: TLSSocket): ConnectionFacts {
  const { remoteAddress } = socket;
  const address = remoteAddress === undefined ? null : plainAddress(remoteAddress);
  return { address, tls: { version: socket.getProtocol(), cipher: socket.getCipher()?.name ?? null } };
}
