import type { CommandPlan } from '../agent-commands/command-rules.js';
import type { Problem } from '../../lib/problem.js';
import type { AgentEvent, Lane } from '../../protocol/heartbeat-messages.js';
import { EventRate, occurrenceBy } from '../../policies/event-rate.js';
import { NOTHING_ACKNOWLEDGED } from '../../protocol/heartbeat-messages.js';
import type { NewEvent } from '../events/event-writer.js';
import { laneKeyText, type LaneKey, type LanePosition } from '../events/lane-position-repository.js';
import type { InventoryPlan } from '../telemetry/inventory-rules.js';
import type { ComputerSettings } from '../policies/settings-cache.js';
import { toClaimedInstant } from './clock-offset.js';
import type { Exchange } from './exchange.js';
import type { LiveRow } from './live-row.js';
import type { Acceptance } from './report-rules.js';

interface WorkBase {
  readonly exchange: Exchange;
}

export interface RefusedWork extends WorkBase {
  readonly effect: 'refused';
  readonly problem: Problem;
}

interface KnownWork extends WorkBase {
  readonly live: LiveRow;
  /** By the certificate that the report came by. */
  readonly isFirstUse: boolean;
  readonly settings: ComputerSettings;
  readonly lanes: LaneWork;
  readonly nextContactInMs: number;
  readonly carriesSettings: boolean;
  /** The fingerprint of the candidate that this exchange proves. */
  readonly committed: string | null;
  /** The fingerprint of the candidate that is to be tried again. */
  readonly retried: string | null;
  readonly fullReport: boolean;
  readonly commands: CommandPlan;
  readonly inventory: InventoryPlan;
}

/** A report whose effects are stored. */
export interface AcceptedWork extends KnownWork {
  readonly effect: 'accepted';
  /** The policy that the computer is attached to. */
  readonly policyId: string;
  readonly acceptance: Acceptance;
  /** Facts, components or contacts may differ from what is stored. */
  readonly isStateNew: boolean;
}

/** A report that is answered without effects of its own. */
export interface AnsweredWork extends KnownWork {
  readonly effect: 'repeat' | 'older';
  /** The row to store, if any. */
  readonly next: LiveRow | null;
}

export type ReportWork = RefusedWork | AcceptedWork | AnsweredWork;

/** What one report's lanes come to. */
export interface LaneWork {
  readonly acknowledged: readonly { readonly lane: Lane; readonly epoch: string; readonly position: number }[];
  readonly events: readonly NewEvent[];
  readonly positions: readonly LanePosition[];
  /** The computer's rate once these are stored; undefined where nothing was limited. */
  readonly rate: EventRate | undefined;
  /** Events that the limit has no place for yet. */
  readonly heldBack: number;
}

/** The lanes of which a position must be known: those that carry events. */
export function laneKeysOf({ report, identity }: Exchange): LaneKey[] {
  const { computerId } = identity;
  return report.lanes.filter(({ events }) => events.length > 0).map(({ lane, epoch }) => ({ computerId, lane, epoch }));
}

/** Whether a lane's events are stored now; others are left for a later report, at an unmoved position. */
export type LaneAdmission = (lane: Lane) => boolean;

export interface LaneIntake {
  readonly admits: LaneAdmission;
  readonly limit?: {
    /** The computer's rate before; asked only of one that sends events which are limited. */
    readonly rate: () => EventRate;
    readonly perMinute: number;
  };
}

/**
 * Discards what is at or below the stored position, takes of the rest what the limit has places for, and says how far
 * everything is stored. What is not taken comes again.
 */
export function takeLanes(exchange: Exchange, stored: ReadonlyMap<string, number>, intake: LaneIntake): LaneWork {
  const { report, identity, receivedAt } = exchange;
  const { computerId } = identity;
  const acknowledged: { lane: Lane; epoch: string; position: number }[] = [];
  const taken: NewEvent[] = [];
  const positions: LanePosition[] = [];
  const places = createPlaces(exchange, intake.limit);
  let heldBack = 0;
  for (const { lane, epoch, events } of report.lanes) {
    if (events.length === 0) continue;
    const before = stored.get(laneKeyText({ computerId, lane, epoch })) ?? NOTHING_ACKNOWLEDGED;
    const unknown = intake.admits(lane) ? events.filter(({ sequence }) => sequence > before) : [];
    const fresh = placed(unknown, (event) => places.take(lane, event));
    heldBack += unknown.length - fresh.length;
    const position = fresh.at(-1)?.sequence ?? before;
    acknowledged.push({ lane, epoch, position });
    if (fresh.length === 0) continue;
    positions.push({ computerId, lane, epoch, position, namedAt: receivedAt });
    taken.push(...fresh.map((event) => toNewEvent(event, { computerId, lane, epoch, receivedAt })));
  }
  return { acknowledged, events: taken, positions, heldBack, rate: places.rate() };
}

/** A lane stays in its order: behind the first that waits, all wait. */
function placed(events: readonly AgentEvent[], take: (event: AgentEvent) => boolean): readonly AgentEvent[] {
  const first = events.findIndex((event) => !take(event));
  return first < 0 ? events : events.slice(0, first);
}

/** An agent holds itself to the limit by minutes of its own, which straddle ours. */
const AHEAD_MS = 60_000;

/** On a copy of the rate, which counts once the events are stored; none is made for the many reports without events. */
function createPlaces({ report, receivedAt }: Exchange, limit: LaneIntake['limit']) {
  let rate: EventRate | undefined;
  const { agentTime: claimedNow } = report;
  return {
    rate: () => rate,
    take(lane: Lane, { occurredAt }: AgentEvent): boolean {
      if (!limit || lane === 'control') return true;
      rate ??= new EventRate(limit.rate());
      return rate.take({
        lane,
        occurredAt: occurrenceBy(receivedAt, { claimedNow, occurredAt }),
        until: receivedAt + AHEAD_MS,
        perMinute: limit.perMinute,
      });
    },
  };
}

function toNewEvent(
  event: AgentEvent,
  { computerId, lane, epoch, receivedAt }: LaneKey & { receivedAt: number },
): NewEvent {
  return {
    computerId,
    lane,
    epoch,
    sequence: event.sequence,
    occurredMs: toClaimedInstant(event.occurredAt),
    receivedAt,
    kind: event.kind,
    code: event.code ?? null,
    severity: event.severity,
    message: event.message,
    data: event.data ?? null,
  };
}
