import type { CommunicationDirection, SettingValues } from '../policies/setting-values.js';
import type { CommandResult } from '../protocol/command-messages.js';
import type {
  CandidateReport,
  ComponentReport,
  FirewallReport,
  GoodbyeReason,
  ListenerReport,
  Report,
  SpoolReport,
} from '../protocol/heartbeat-messages.js';
import type { RenewalRequest } from '../protocol/renewal-messages.js';
import { PROTOCOL_VERSION } from '../protocol/protocol-version.js';
import { AGENT_VERSION, platform } from './agent-version.js';
import type { HostSnapshot } from './collectors/host-collectors.js';
import type { InventoryPart } from './inventory/inventory-ledger.js';
import type { CarriedRange, ReadBatch } from './spool/spool.js';
import type { AppliedSettings, Progress, UnansweredReport } from './state-store.js';

/** Room for events in a report of at most 2 MiB, beside facts, counters and components. */
export const EVENT_BYTES_PER_REPORT = 1_250_000;
const MAX_COMPONENTS = 256;

/** The same for every report of one process. */
export interface Incarnation {
  readonly computerId: string;
  readonly instanceId: string;
  readonly bootId: string;
  readonly capabilities: readonly string[];
}

/** Who dials whom, as a report tells it. */
export interface DirectionReport {
  readonly direction: CommunicationDirection;
  readonly listener: ListenerReport;
  readonly candidate?: CandidateReport;
}

export interface ReportInputs {
  readonly incarnation: Incarnation;
  readonly reportId: string;
  readonly sequence: number;
  readonly wall: number;
  readonly boot: number;
  readonly progress: Progress;
  readonly applied: AppliedSettings | undefined;
  readonly settings: SettingValues;
  readonly directions: DirectionReport;
  readonly snapshot: HostSnapshot;
  readonly agentParts: readonly ComponentReport[];
  readonly batches: readonly ReadBatch[];
  readonly spool: SpoolReport;
  /** Whether facts go along although the manager knows them. */
  readonly full: boolean;
  /** Only what liveness needs, after the manager refused more. */
  readonly reduced: boolean;
  readonly goodbye?: GoodbyeReason | undefined;
  /** The URL of the proxy that the agent's own connections go through. */
  readonly proxy?: string | undefined;
  /** What became of commands. */
  readonly tellings: readonly CommandResult[];
  /** Absent where none is gathered by this agent. */
  readonly inventory?: InventoryPart | undefined;
  readonly isCollecting: boolean;
  /** A certificate for another key is asked for. */
  readonly renewal?: RenewalRequest | undefined;
  /** Undefined where it is not told. */
  readonly firewall: FirewallReport | undefined;
}

/** Builds a report and what the agent must remember of it until it is answered. */
export function buildReport(inputs: ReportInputs): UnansweredReport {
  const { snapshot, progress, reduced, incarnation } = inputs;
  const withFacts = !reduced && (inputs.full || progress.acknowledgedFacts !== snapshot.factsDigest);
  const tellings = reduced ? [] : inputs.tellings;
  const report: Report = {
    ...identityPart(inputs),
    factsDigest: snapshot.factsDigest,
    ...(withFacts ? { facts: snapshot.facts } : {}),
    ...inputs.inventory,
    ...statePart(inputs),
    ...settingsPart(inputs),
    ...inputs.directions,
    ...transportPart(inputs),
    lanes: inputs.batches.map(({ lane, epoch, events }) => ({ lane, epoch, events })),
    spool: inputs.spool,
    ...doingsPart(inputs, tellings),
  };
  return {
    reportId: inputs.reportId,
    sequence: inputs.sequence,
    body: JSON.stringify(report),
    factsDigest: withFacts ? snapshot.factsDigest : null,
    ranges: inputs.batches.flatMap(toRange),
    instanceId: incarnation.instanceId,
    listenerPort: inputs.directions.listener.port ?? null,
    bootId: incarnation.bootId,
    builtAtBoot: inputs.boot,
    hasInventory: inputs.inventory?.inventory !== undefined,
    asksRenewal: inputs.renewal !== undefined,
    tells: tellings.map(({ id, state }) => ({ id, state })),
  };
}

function statePart({ reduced, agentParts, snapshot, firewall }: ReportInputs) {
  return {
    components: reduced ? [] : [...agentParts, ...snapshot.components].slice(0, MAX_COMPONENTS),
    counters: reduced ? {} : snapshot.counters,
    ...(firewall ? { firewall } : {}),
  };
}

function identityPart(inputs: ReportInputs) {
  const { incarnation, progress } = inputs;
  return {
    protocolVersion: PROTOCOL_VERSION,
    computerId: incarnation.computerId,
    reportId: inputs.reportId,
    sequence: inputs.sequence,
    bootId: incarnation.bootId,
    instanceId: incarnation.instanceId,
    agentTime: Math.round(inputs.wall),
    uptimeMs: Math.round(inputs.boot),
    ...(progress.previousExchange ? { previousExchange: progress.previousExchange } : {}),
    ...(progress.identityToken === undefined ? {} : { identityToken: progress.identityToken }),
    agentVersion: AGENT_VERSION,
    platform: platform(),
    capabilities: incarnation.capabilities,
  };
}

function settingsPart({ applied, settings }: ReportInputs) {
  return {
    ...(applied ? { appliedFingerprint: applied.fingerprint, settingsGeneration: applied.generation } : {}),
    intervalSeconds: settings.heartbeatIntervalSeconds,
  };
}

function transportPart({ progress: { lastError }, proxy }: ReportInputs) {
  return { ...(lastError ? { lastTransportError: lastError } : {}), ...(proxy === undefined ? {} : { proxy }) };
}

function doingsPart({ isCollecting, goodbye, renewal }: ReportInputs, tellings: readonly CommandResult[]) {
  return {
    ...(tellings.length > 0 ? { commandResults: tellings } : {}),
    ...(isCollecting ? {} : { collection: 'stopped' as const }),
    ...(goodbye ? { goodbye: { reason: goodbye } } : {}),
    ...(renewal ? { renewal } : {}),
  };
}

function toRange({ lane, epoch, events }: ReadBatch): CarriedRange[] {
  const first = events[0];
  const last = events.at(-1);
  if (!first || !last) return [];
  return [{ lane, epoch, from: first.sequence, through: last.sequence, count: events.length }];
}

export function carriedCount({ ranges }: Pick<UnansweredReport, 'ranges'>): number {
  return ranges.reduce((sum, { count }) => sum + count, 0);
}
