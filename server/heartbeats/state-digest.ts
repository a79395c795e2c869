import { hash } from 'node:crypto';
import type { Exchange } from './exchange.js';

const DAY_MS = 86_400_000;

/**
 * A digest over everything of a report that is stored outside the hot row and rarely changes. While it is equal, no
 * statement is spent on facts and components. It also changes once a day, at an instant of the computer's own, so that
 * what was lost or aged out beside the hot row mends itself.
 */
export function stateDigestOf({ report, address, tls, via, receivedAt, identity }: Exchange): Buffer {
  const phase = Number.parseInt(identity.computerId.slice(0, 6), 16) / 0x1000000;
  const state = [
    report.factsDigest,
    report.components.map(({ kind, name, state: componentState, detail }) => [kind, name, componentState, detail]),
    report.agentVersion,
    report.platform,
    report.protocolVersion,
    report.capabilities,
    report.proxy,
    report.lastTransportError,
    [address, tls.version, tls.cipher, via],
    Math.floor(receivedAt / DAY_MS + phase),
  ];
  return hash('sha256', JSON.stringify(state), 'buffer');
}
