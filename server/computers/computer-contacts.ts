import type { WayFacts } from '../../policies/contact-ways.js';
import { shownChannel, type ShownChannel } from '../channels/index.js';
import { DIAL_ANSWERED } from '../dials/dial-requests.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { ComputerDetailDto, ComputerDto } from './computer-dto.js';
import type { ContactsRow, OverviewRow } from './computer-list-query.js';

type WayRow = Pick<
  OverviewRow,
  | 'last_seen_fleet_ms'
  | 'seen_by_agent_fleet_ms'
  | 'seen_by_dial_fleet_ms'
  | 'listener_state'
  | 'last_dial_begun_fleet_ms'
  | 'last_dial_ended_fleet_ms'
  | 'last_dial_result'
  | 'probed_fleet_ms'
>;

export function wayFactsOf(row: WayRow): WayFacts {
  const hasFailed = row.last_dial_result !== null && row.last_dial_result !== DIAL_ANSWERED;
  return {
    lastSeenAt: row.last_seen_fleet_ms,
    seenByAgentAt: row.seen_by_agent_fleet_ms,
    seenByDialAt: row.seen_by_dial_fleet_ms,
    listenerState: row.listener_state,
    failedDialAt: hasFailed ? row.last_dial_begun_fleet_ms : null,
    probedAt: row.probed_fleet_ms,
  };
}

/** A dial that brings a report is that report; only what fails is a row of its own. */
export function lastDialOf(
  {
    seen_by_dial_fleet_ms: answeredAt,
    last_dial_begun_fleet_ms: begunAt,
    last_dial_ended_fleet_ms: endedAt,
    ...row
  }: WayRow,
  shown: (instant: FleetInstant | null) => string | null,
): ComputerDto['lastDial'] {
  const isLater = begunAt !== null && (answeredAt === null || begunAt > answeredAt);
  const at = shown(isLater ? endedAt : answeredAt);
  return at === null ? null : { at, result: isLater ? (row.last_dial_result ?? DIAL_ANSWERED) : DIAL_ANSWERED };
}

type ChannelRow = Pick<
  OverviewRow,
  | 'channel_state'
  | 'channel_since_fleet_ms'
  | 'channel_reason'
  | 'channel_generation'
  | 'holder_generation'
  | 'holder_listened_fleet_ms'
>;

/** The connection that the computer holds, as it is at `now`. */
export function channelOf(row: ChannelRow, now: FleetInstant): ShownChannel {
  const { channel_state: state, channel_since_fleet_ms: since, channel_generation: generation } = row;
  if (state === null || since === null || generation === null) return shownChannel(null, null, now);
  const { holder_generation: held, holder_listened_fleet_ms: listenedUntil } = row;
  const holder = held === null || listenedUntil === null ? null : { generation: held, listenedUntil };
  return shownChannel({ state, since, generation, reason: row.channel_reason }, holder, now);
}

/** How the computer said that it can be reached; nothing before its first report. */
export function contactsOf(
  contacts: ContactsRow | null,
  toText: (instant: FleetInstant) => string,
): Pick<ComputerDetailDto, 'directionSince' | 'listener' | 'candidate'> {
  const since = contacts?.direction_since_fleet_ms ?? null;
  return {
    directionSince: since === null ? null : toText(since),
    listener: contacts?.listener_state ? listenerOf(contacts, contacts.listener_state) : null,
    candidate: contacts?.candidate_fingerprint ? candidateOf(contacts, contacts.candidate_fingerprint, toText) : null,
  };
}

function listenerOf({ listener_port: port, listener_detail: detail }: ContactsRow, state: string) {
  return { state, port, detail };
}

function candidateOf(contacts: ContactsRow, fingerprint: string, toText: (instant: FleetInstant) => string) {
  const { candidate_since_fleet_ms: since } = contacts;
  return {
    fingerprint,
    communicationDirection: contacts.candidate_direction,
    state: contacts.candidate_state,
    since: since === null ? null : toText(since),
    port: contacts.candidate_port,
    reason: contacts.candidate_reason,
    detail: contacts.candidate_detail,
  };
}
