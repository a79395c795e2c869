import { hash } from 'node:crypto';
import type { CandidateStanding } from '../../policies/candidate-rules.js';
import type { Exchange } from './exchange.js';

const DAY_MS = 86_400_000;
/** The first bytes are of the state, the rest of the connection that it was told over. */
const STATE_BYTES = 20;
const CONNECTION_BYTES = 12;

/**
 * Whether what is known of the agent's connection is this exchange's. A dial of the manager's beside the agent's own
 * connections tells nothing of those, and must not be written in turn with them.
 */
export function bringsConnection({ dialledBy, report }: Exchange): boolean {
  return dialledBy === 'agent' || report.direction !== 'bidirectional';
}

/**
 * A digest over everything of a report that is stored outside the hot row and rarely changes, and what its candidate is
 * to the desired settings. While it is equal to the stored one, no statement is spent on facts, components and contacts.
 * It also changes once a day, at an instant of the computer's own, so that what was lost or aged out beside the hot row
 * mends itself.
 */
export function stateDigestOf(exchange: Exchange, standing: CandidateStanding, stored: Buffer | null): Buffer {
  const connection = bringsConnection(exchange)
    ? connectionDigestOf(exchange)
    : (stored?.subarray(STATE_BYTES) ?? Buffer.alloc(CONNECTION_BYTES));
  return Buffer.concat([reportDigestOf(exchange, standing), connection]);
}

function reportDigestOf({ report, receivedAt, identity }: Exchange, standing: CandidateStanding): Buffer {
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
    report.direction,
    listenerState(report),
    candidateState(report),
    standing,
    Math.floor(receivedAt / DAY_MS + phase),
    // Absent from most, whose digests it leaves as they are.
    ...(report.collection === undefined ? [] : [report.collection]),
    ...(report.firewall === undefined ? [] : [firewallState(report.firewall)]),
  ];
  return sha256(state).subarray(0, STATE_BYTES);
}

type Report = Exchange['report'];

function listenerState({ listener }: Report): unknown {
  return listener && [listener.state, listener.port, listener.detail];
}

function firewallState({ state, digest, detail, isolatedBy }: NonNullable<Report['firewall']>): unknown {
  return ['firewall', state, digest, detail, isolatedBy];
}

function candidateState({ candidate }: Report): unknown {
  if (!candidate) return undefined;
  const { fingerprint, direction, state, port, reason, detail } = candidate;
  return [fingerprint, direction, state, port, reason, detail];
}

function connectionDigestOf({ address, tls, via, dialledBy }: Exchange): Buffer {
  return sha256([address, tls.version, tls.cipher, via, dialledBy]).subarray(0, CONNECTION_BYTES);
}

function sha256(value: unknown): Buffer {
  return hash('sha256', JSON.stringify(value), 'buffer');
}
