import {
  array,
  boolean,
  integer,
  json,
  nullable,
  number,
  object,
  oneOf,
  optional,
  sha256Hex,
  string,
  uuid,
  type TypeOf,
} from '../lib/schema.js';
import { commandResultSchema, MAX_COMMANDS_PER_ORDERS, MAX_RESULTS_PER_REPORT } from './command-messages.js';
import { heldInventorySchema, inventorySchema } from './inventory-messages.js';
import { renewalRefusalSchema, renewalRequestSchema, renewedSchema } from './renewal-messages.js';

/** The spool's lanes, each with its own quota and acknowledged position (design: a backlog of logs never holds back a detection). */
export const LANES = ['control', 'detection', 'log', 'metric'] as const;
export type Lane = (typeof LANES)[number];

export const SEVERITIES = ['info', 'low', 'medium', 'high', 'critical'] as const;
export type Severity = (typeof SEVERITIES)[number];

export const GOODBYE_REASONS = ['shutdown', 'restart', 'update', 'uninstall', 'suspended'] as const;
export type GoodbyeReason = (typeof GOODBYE_REASONS)[number];

/** A report carries at most this many events over all lanes. */
export const MAX_EVENTS_PER_REPORT = 1000;
/** Bodies over this are refused with 413 before they are read to the end. */
export const MAX_REPORT_BYTES = 2 * 1024 * 1024;

const LATEST_INSTANT_MS = 8_640_000_000_000_000;
const sequence = integer(0, Number.MAX_SAFE_INTEGER);
/** An instant that an agent claims, Unix milliseconds; kept as a claim. */
const claimedInstant = number(-LATEST_INSTANT_MS, LATEST_INSTANT_MS);
const durationMs = number(0, Number.MAX_SAFE_INTEGER);

export const eventSchema = object({
  sequence,
  occurredAt: claimedInstant,
  kind: string({ min: 1, max: 64 }),
  code: optional(integer(0, 1_000_000)),
  severity: oneOf(...SEVERITIES),
  message: string({ max: 8192 }),
  data: optional(json(32_768)),
});
export type AgentEvent = TypeOf<typeof eventSchema>;

/** One lane's batch: records of one epoch, ascending by sequence. An empty batch names the epoch it stands at. */
export const laneBatchSchema = object({
  lane: oneOf(...LANES),
  epoch: string({ min: 1, max: 64 }),
  events: array(eventSchema, MAX_EVENTS_PER_REPORT),
});
export type LaneBatch = TypeOf<typeof laneBatchSchema>;

const records = integer(0, Number.MAX_SAFE_INTEGER);

/** What the spool holds when the report is built, what it carries included; `isHeldBack`: the limit has no place for it yet. */
export const spoolReportSchema = object({
  bytes: records,
  lanes: array(
    object({ lane: oneOf(...LANES), waiting: records, dropped: records, isHeldBack: boolean }),
    LANES.length,
  ),
});
export type SpoolReport = TypeOf<typeof spoolReportSchema>;

/** A watched component (kind of the setting `componentsWatched`) or a part of the agent itself (kind `agentPart`). */
export const componentSchema = object({
  name: string({ min: 1, max: 128 }),
  kind: oneOf('agentPart', 'process', 'systemdUnit', 'kernelModule'),
  state: oneOf('online', 'offline', 'unknown'),
  detail: optional(string({ max: 1024 })),
});
export type ComponentReport = TypeOf<typeof componentSchema>;

const generationSchema = object({ epoch: uuid, counter: sequence });
export type SettingsGeneration = TypeOf<typeof generationSchema>;

export const transportErrorSchema = object({
  code: string({ max: 64 }),
  at: claimedInstant,
  detail: string({ max: 1024 }),
});

export const COMMUNICATION_DIRECTIONS = ['bidirectional', 'managerInitiated', 'agentInitiated'] as const;

/** The agent's listener. `port` is the one that is bound; `failed`: it should listen and cannot. */
export const listenerSchema = object({
  state: oneOf('closed', 'listening', 'failed'),
  port: optional(integer(1, 65_535)),
  detail: optional(string({ max: 1024 })),
});
export type ListenerReport = TypeOf<typeof listenerSchema>;

/**
 * Settings that could cut the agent off and are not in force yet. `proving`: the side that will dial has to show one
 * exchange over the new way; `port` is where the agent listens for it. `reverted`: that did not happen, and why.
 */
export const candidateSchema = object({
  fingerprint: sha256Hex,
  direction: oneOf(...COMMUNICATION_DIRECTIONS),
  state: oneOf('proving', 'reverted'),
  port: optional(integer(1, 65_535)),
  reason: optional(oneOf('listener-failed', 'not-dialled', 'manager-not-reached', 'firewall-failed')),
  detail: optional(string({ max: 1024 })),
});
export type CandidateReport = TypeOf<typeof candidateSchema>;

/**
 * The host firewall. `failed`: what is wanted could not be loaded, the former rules are in force. `digest` is of the rules
 * in force (policies/firewall-set.ts), isolated or not. `isolatedBy` is the command that isolated the computer.
 */
export const firewallSchema = object({
  state: oneOf('applied', 'failed', 'unsupported'),
  digest: optional(sha256Hex),
  detail: optional(string({ max: 1024 })),
  isolatedBy: optional(uuid),
});
export type FirewallReport = TypeOf<typeof firewallSchema>;

/** The report of one heartbeat, agent to manager. The identity comes from the certificate; `computerId` may only agree. */
export const reportSchema = object({
  protocolVersion: integer(1, 1000),
  computerId: optional(uuid),
  reportId: uuid,
  sequence,
  bootId: string({ min: 1, max: 64 }),
  instanceId: uuid,
  agentTime: claimedInstant,
  uptimeMs: durationMs,
  previousExchange: optional(object({ sequence, sentAt: claimedInstant, receivedAt: claimedInstant })),
  identityToken: optional(string({ max: 256 })),
  agentVersion: string({ min: 1, max: 64 }),
  platform: string({ min: 1, max: 128 }),
  capabilities: array(string({ max: 64 }), 64),
  factsDigest: sha256Hex,
  /** Present when changed since the manager last acknowledged them, or when a full report was asked for. */
  facts: optional(json(65_536)),
  /** SHA-256 of `heldText`: of the sets that the manager holds once it has stored this report. */
  inventoryDigest: optional(sha256Hex),
  inventory: optional(inventorySchema),
  components: array(componentSchema, 256),
  counters: json(32_768),
  appliedFingerprint: optional(sha256Hex),
  settingsGeneration: optional(generationSchema),
  /** The interval the agent runs on. */
  intervalSeconds: integer(1, 86_400),
  /** Who opens connections by the settings that the agent acts on. */
  direction: optional(oneOf(...COMMUNICATION_DIRECTIONS)),
  listener: optional(listenerSchema),
  candidate: optional(candidateSchema),
  firewall: optional(firewallSchema),
  lastTransportError: optional(transportErrorSchema),
  proxy: optional(string({ max: 2048 })),
  lanes: array(laneBatchSchema, LANES.length),
  spool: optional(spoolReportSchema),
  /** What became of commands; each is told until a report that carried it was answered. */
  commandResults: optional(array(commandResultSchema, MAX_RESULTS_PER_REPORT)),
  /** Whether components, counters and what programs hand in are gathered; never heartbeats, which go on. */
  collection: optional(oneOf('running', 'stopped')),
  goodbye: optional(object({ reason: oneOf(...GOODBYE_REASONS), expectedBackMs: optional(durationMs) })),
  renewal: optional(renewalRequestSchema),
});
export type Report = TypeOf<typeof reportSchema>;

/** New settings: `json` is the canonical JSON (RFC 8785) whose exact UTF-8 bytes the fingerprint is taken over. */
export const settingsOrderSchema = object({
  fingerprint: sha256Hex,
  generation: generationSchema,
  json: string({ min: 2, max: 1_000_000 }),
});
export type SettingsOrder = TypeOf<typeof settingsOrderSchema>;

/**
 * The orders that answer a report. `effect`: `accepted`, `repeat` (the same report again: same effects and positions,
 * times computed anew) or `older` (counted and ignored). `nextContactInMs` counts by the agent's boot clock from the
 * start of the attempt that was answered. `committed` is the fingerprint of the candidate that this exchange, now stored,
 * has proven: the agent puts it in force. `retryCandidate` is the fingerprint of settings that the agent has reverted and
 * that this answer carries again: something changed that they failed by, so the agent tries them before its hour is over.
 */
export const ordersSchema = object({
  protocolVersion: integer(1, 1000),
  computerId: uuid,
  reportId: uuid,
  effect: oneOf('accepted', 'repeat', 'older'),
  managerReceivedAt: claimedInstant,
  managerSentAt: claimedInstant,
  acknowledged: array(
    object({ lane: oneOf(...LANES), epoch: string({ max: 64 }), position: integer(-1, Number.MAX_SAFE_INTEGER) }),
    LANES.length,
  ),
  settings: nullable(settingsOrderSchema),
  settingsGeneration: generationSchema,
  committed: optional(sha256Hex),
  retryCandidate: optional(sha256Hex),
  /** Each is read by `commandOrderSchema` on its own, so that one of a newer manager spoils no others. */
  commands: array(json(65_536), 5 * MAX_COMMANDS_PER_ORDERS),
  nextContactInMs: durationMs,
  identityToken: string({ max: 256 }),
  /** `ratePerMinute`: the limit on newly produced events (policies/event-rate.ts); absent from a manager that has none. */
  eventQuota: object({
    maxEventsPerReport: integer(0, MAX_EVENTS_PER_REPORT),
    drain: boolean,
    ratePerMinute: optional(integer(0, 1_000_000)),
  }),
  fullReport: boolean,
  /** Answers the changes of a report, and tells an agent whose `inventoryDigest` is another than the manager's. */
  inventory: optional(heldInventorySchema),
  renewed: optional(renewedSchema),
  renewalRefused: optional(renewalRefusalSchema),
});
export type Orders = TypeOf<typeof ordersSchema>;

/** The acknowledged position of a lane of which nothing was stored yet. */
export const NOTHING_ACKNOWLEDGED = -1;
