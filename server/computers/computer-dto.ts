import { Transform } from 'class-transformer';
import { ArrayMaxSize, IsArray, IsIn, IsInt, IsObject } from 'class-validator';
import { POWER_STATES } from '../../policies/status-model.js';
import { Integer, Name, OneOf, Optional, OptionalOrNull, Text, Uuid } from '../admin-api/dto.js';
import { PageQuery } from '../admin-api/page.js';
import { refTo } from '../admin-api/dto-schemas.js';
import { Checked, CheckedMembers, Instant, Shown, GivenInstant } from '../admin-api/shown.js';
import { PresentMaintenanceDto } from '../maintenance/index.js';
import { FLAGS, STATUSES } from '../statuses/status.js';
import { PACKAGE_FILTER_MAX, packageFilterFault } from '../telemetry/index.js';
import { addressFault, labelsFaults } from './computer-rules.js';

const NAME_MAX = 253;
const ADDRESS_MAX = 261;
const COMMENT_MAX = 1000;
const FILTERS_MAX = 16;
const LABEL_FILTER_MAX = 320;
const REVISION_MAX = 2_147_483_647;

const addressOf = (value: unknown): string | undefined =>
  typeof value === 'string' ? addressFault(value) : 'must be a string';
const LABELS_SCHEMA = { type: 'object', additionalProperties: { type: 'string', maxLength: 255 } } as const;

/** `a,b` and `?x=a&x=b` are the same list. */
function ListOfText(): PropertyDecorator {
  return Transform(({ value }: { value: unknown }) => splitList(value));
}

export function splitList(value: unknown): unknown {
  const members = Array.isArray(value) ? value : [value];
  return members.flatMap((member) => (typeof member === 'string' ? member.split(',') : [member]));
}

interface RepeatedFilter {
  readonly name: string;
  readonly longest: number;
  readonly faultOf: (member: unknown) => string | undefined;
}

/** Of a query: `?x=a&x=b`, of which all must hold; a comma is part of a member. */
function RepeatedFilters({ name, longest, faultOf }: RepeatedFilter): PropertyDecorator {
  const decorators = [
    Shown({ type: 'array', items: { type: 'string', maxLength: longest } }),
    Checked(name, (value) => (Array.isArray(value) ? value.map(faultOf).find(Boolean) : 'must be a list')),
    ArrayMaxSize(FILTERS_MAX),
    IsArray(),
    Transform(({ value }: { value: unknown }) => (Array.isArray(value) ? value : [value])),
    Optional(),
  ];
  return (target, member) => {
    for (const decorate of decorators) decorate(target, member);
  };
}

const labelTextFault = (text: unknown): string | undefined =>
  typeof text === 'string' && text.length <= LABEL_FILTER_MAX && !text.includes('\0')
    ? undefined
    : 'must be key, key=value or key:value';

export function LabelFilters(): PropertyDecorator {
  return RepeatedFilters({ name: 'isLabelFilters', longest: LABEL_FILTER_MAX, faultOf: labelTextFault });
}

function PackageFilters(): PropertyDecorator {
  return RepeatedFilters({ name: 'isPackageFilters', longest: PACKAGE_FILTER_MAX, faultOf: packageFilterFault });
}

export class ComputersQuery extends PageQuery {
  @Optional()
  @ListOfText()
  @ArrayMaxSize(FILTERS_MAX)
  @IsIn([...STATUSES], { each: true, message: `must be one of ${STATUSES.join(', ')}` })
  @Shown({ type: 'array', items: { type: 'string', enum: [...STATUSES] } })
  status?: string[];

  /** All of them must be set. */
  @Optional()
  @ListOfText()
  @ArrayMaxSize(FILTERS_MAX)
  @IsIn([...FLAGS], { each: true, message: `must be one of ${FLAGS.join(', ')}` })
  @Shown({ type: 'array', items: { type: 'string', enum: [...FLAGS] } })
  flag?: string[];

  /** The policy and all below it. */
  @Optional()
  @Uuid()
  policyId?: string;

  /** `key`, `key=value` or `key:value`; repeated, all must hold. */
  @LabelFilters()
  label?: string[];

  /** `name` or `name@version` of an installed package; repeated, all must be installed. */
  @PackageFilters()
  package?: string[];
}

export class DeleteComputerQuery {
  /** Also while it is isolated: the code that ends that cannot be asked for any more. */
  @Optional()
  @OneOf('true', 'false')
  force?: 'true' | 'false';
}

export class CreateComputerBody {
  @Name({ max: NAME_MAX })
  name!: string;

  /** `agent` unless given. */
  @Optional()
  @OneOf('agent', 'appliance')
  kind?: 'agent' | 'appliance';

  /** `host[:port]`; without a port the manager dials the one that the listener reports. */
  @OptionalOrNull()
  @Checked('isAddress', addressOf)
  @Shown({ type: 'string', maxLength: ADDRESS_MAX })
  address?: string | null;

  @Uuid()
  policyId!: string;

  @Optional()
  @CheckedMembers('isLabels', (value) => labelsFaults(value))
  @Shown(LABELS_SCHEMA)
  labels?: Record<string, string>;

  @Optional()
  @OneOf(...POWER_STATES)
  powerState?: 'running' | 'stopped' | 'unknown';

  @Optional()
  @Text({ max: COMMENT_MAX, multiline: true })
  comment?: string;
}

export class ChangeComputerBody {
  @Optional()
  @Name({ max: NAME_MAX })
  name?: string;

  @Optional()
  @Uuid()
  policyId?: string;

  /** Merged by key; null takes a label away, and null for all of them takes all. */
  @OptionalOrNull()
  @CheckedMembers('isLabelsPatch', (value) => labelsFaults(value, { nullable: true }))
  @Shown({ type: ['object', 'null'], additionalProperties: { type: ['string', 'null'] } })
  labels?: Record<string, string | null> | null;

  /** `host[:port]`; null takes it away. */
  @OptionalOrNull()
  @Checked('isAddress', addressOf)
  @Shown({ type: 'string', maxLength: ADDRESS_MAX })
  address?: string | null;

  @Optional()
  @Text({ max: COMMENT_MAX, multiline: true })
  comment?: string;
}

export class PowerStateBody {
  @OneOf(...POWER_STATES)
  state!: 'running' | 'stopped' | 'unknown';

  /** Who says so; the caller's name unless given. */
  @Optional()
  @Text({ min: 1, max: 128 })
  source?: string;

  /** Until when it is believed. */
  @OptionalOrNull()
  @GivenInstant({ type: ['string', 'null'] })
  expiresAt?: string | null;
}

export class PolicyRefDto {
  @Uuid()
  id!: string;

  @Text({ max: 128 })
  name!: string;
}

const NULLABLE_TEXT = { type: ['string', 'null'] };
const NULLABLE_INSTANT = { type: ['string', 'null'], format: 'date-time' };
const FREE_OBJECT = { type: 'object', additionalProperties: true } as const;
const NULLABLE_OBJECT = { type: ['object', 'null'], additionalProperties: true };

export class ComputerDto {
  @Uuid()
  id!: string;

  @Text({ max: NAME_MAX })
  name!: string;

  @OneOf('agent', 'appliance')
  kind!: string;

  @Shown(NULLABLE_TEXT)
  address!: string | null;

  /** `manual` where an operator gave it, `observed` where the last report came from it. */
  @Shown(NULLABLE_TEXT)
  addressSource!: string | null;

  @IsObject()
  @Shown(refTo(PolicyRefDto))
  policy!: PolicyRefDto;

  @IsObject()
  @Shown(LABELS_SCHEMA)
  labels!: Readonly<Record<string, string>>;

  @Integer(1, REVISION_MAX)
  revision!: number;

  @Instant()
  createdAt!: string;

  @Shown(NULLABLE_INSTANT)
  enrolledAt!: string | null;

  @IsObject()
  @Shown(FREE_OBJECT)
  powerState!: { state: string; source: string | null; since: string | null; expiresAt: string | null };

  @IsIn([...STATUSES])
  status!: string;

  @Text({ max: 64 })
  statusReason!: string;

  @Instant()
  statusSince!: string;

  /** Nothing is notified about it until then; null outside of maintenance. The status goes on beneath. */
  @Shown({ oneOf: [refTo(PresentMaintenanceDto), { type: 'null' }] })
  maintenance!: PresentMaintenanceDto | null;

  @Shown(NULLABLE_INSTANT)
  lastSeenAt!: string | null;

  /** Misses that have fallen by the rules at this instant; 0 when not late. */
  @IsInt()
  missedHeartbeats!: number;

  @Shown(NULLABLE_INSTANT)
  nextExpectedAt!: string | null;

  /**
   * When the offline alert was, or without a further report will be, raised; null for never. Where only the manager dials
   * and no dial that counts has failed yet, the earliest instant at which it can be.
   */
  @Shown(NULLABLE_INSTANT)
  offlineAt!: string | null;

  @Shown({ type: ['integer', 'null'] })
  clockOffsetMs!: number | null;

  @OneOf('applied', 'pending', 'failed')
  settingsState!: string;

  @IsObject()
  @Shown(FREE_OBJECT)
  fingerprint!: { desired: string; applied: string | null };

  @OneOf('bidirectional', 'managerInitiated', 'agentInitiated')
  communicationDirection!: string;

  /** By the agent's own word; null before its first report. It differs from the setting while that is being proven. */
  @Shown(NULLABLE_TEXT)
  directionInForce!: string | null;

  @OneOf('held', 'perHeartbeat')
  connectionMode!: string;

  /** How reports come: `channel` where the agent holds a connection, `https` where it dials, `listener` where the manager does. */
  @Text({ max: 32 })
  carrierInUse!: string;

  /** The URL of the proxy that the agent's own connections go through, by its own word; null for none. */
  @Shown(NULLABLE_TEXT)
  proxyInUse!: string | null;

  /** The connection that the agent holds: `none` where it never held one; `reason` tells why the last one ended. Never a status. */
  @IsObject()
  @Shown(FREE_OBJECT)
  channel!: { state: string; since: string | null; reason: string | null };

  /** As the last dial or answered probe went; null where nothing listens or nothing was dialled yet. */
  @Shown({ type: ['boolean', 'null'] })
  listenerReachable!: boolean | null;

  /** `answered`, or the code of a failure. */
  @Shown(NULLABLE_OBJECT)
  lastDial!: { at: string; result: string } | null;

  @Shown(NULLABLE_TEXT)
  agentVersion!: string | null;

  @Shown(NULLABLE_TEXT)
  platform!: string | null;

  /** `stopped` by command: no components, counters and handed-in events are gathered; heartbeats go on. */
  @OneOf('running', 'stopped')
  collection!: string;

  @IsArray()
  @Shown({ type: 'array', items: { type: 'string' } })
  flags!: readonly string[];
}

export class ComputerDetailDto extends ComputerDto {
  @IsArray()
  @Shown({ type: 'array', items: FREE_OBJECT })
  components!: readonly { name: string; kind: string; state: string; since: string; detail: string | null }[];

  @Shown(NULLABLE_OBJECT)
  counters!: unknown;

  @Shown(NULLABLE_OBJECT)
  facts!: unknown;

  /**
   * What the agent's spool held at its newest report, by lane, by its own word: what waits for the manager, what was dropped
   * for want of room, and whether `eventRateLimitPerMinute` holds it back. Null from an agent that tells nothing.
   */
  @Shown(NULLABLE_OBJECT)
  spool!: { bytes: number; lanes: object } | null;

  /** Since when `directionInForce` is. */
  @Shown(NULLABLE_INSTANT)
  directionSince!: string | null;

  /** By the agent's own word. */
  @Shown(NULLABLE_OBJECT)
  listener!: object | null;

  /** Settings that are being proven, or that were reverted, and why. */
  @Shown(NULLABLE_OBJECT)
  candidate!: object | null;

  /** The agent's own clock at its last report: a claim. */
  @Shown(NULLABLE_INSTANT)
  agentTimeAt!: string | null;

  @Shown(NULLABLE_OBJECT)
  tls!: { version: string; cipher: string | null } | null;

  @Shown(NULLABLE_OBJECT)
  certificate!: { serial: string; notBefore: string; notAfter: string } | null;
}

export class StatusChangeDto {
  @IsIn([...STATUSES])
  status!: string;

  @IsIn([...STATUSES])
  previousStatus!: string;

  @Text({ max: 64 })
  reason!: string;

  /** When it began by the rule. */
  @Instant()
  since!: string;

  /** When it was noticed. */
  @Instant()
  noticedAt!: string;
}

export class HeartbeatDto {
  @Instant()
  receivedAt!: string;

  @Shown({ type: ['integer', 'null'] })
  latenessMs!: number | null;

  @Shown({ type: ['integer', 'null'] })
  clockOffsetMs!: number | null;

  @Shown({ type: ['integer', 'null'] })
  latencyMs!: number | null;
}

export class GapDto {
  @Instant()
  from!: string;

  @Instant()
  until!: string;

  @IsInt()
  durationMs!: number;

  @IsInt()
  intervalMs!: number;

  /** How much of it nobody listened. */
  @IsInt()
  deafMs!: number;
}
