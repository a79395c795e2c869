import { HOLDS, TOLD, type HeldBy, type Told } from '../../policies/notice-rules.js';
import { ALERT_TYPES, SEVERITIES } from '../../policies/status-model.js';
import { Integer, OneOf, Optional, Schema, Text, Uuid } from '../admin-api/dto.js';
import { Checked, GivenInstant, Instant, Shown } from '../admin-api/shown.js';
import { PageQuery } from '../admin-api/page.js';
import { ALERT_STATES, type AlertState } from './alert.js';

const LONGEST_COMMENT = 2000;
const USER_NAME_MAX = 128;
const OCCURRENCES_MAX = 2_147_483_647;

export class AlertQuery extends PageQuery {
  @Optional()
  @OneOf(...ALERT_STATES)
  state?: AlertState;

  @Optional()
  @OneOf(...Object.keys(ALERT_TYPES))
  type?: string;

  @Optional()
  @OneOf(...SEVERITIES)
  severity?: string;

  @Optional()
  @Uuid()
  computerId?: string;

  /** Alerts of the computers of this policy and of those below it. */
  @Optional()
  @Uuid()
  policyId?: string;

  /** The name of the user who looks after it. */
  @Optional()
  @Text({ min: 1, max: USER_NAME_MAX })
  assignee?: string;

  /** What keeps its recipients from being told. */
  @Optional()
  @OneOf(...HOLDS)
  heldBy?: HeldBy;

  /** The alerts that an incident gathers. */
  @Optional()
  @Uuid()
  incidentId?: string;
}

export class AlertActionBody {
  @Optional()
  @Text({ min: 1, max: LONGEST_COMMENT, multiline: true, seen: true })
  comment?: string;
}

export class SnoozeAlertBody extends AlertActionBody {
  @GivenInstant({ description: 'at most a year from now' })
  until!: string;
}

export class CommentAlertBody {
  @Text({ min: 1, max: LONGEST_COMMENT, multiline: true, seen: true })
  comment!: string;
}

export class AssignAlertBody extends AlertActionBody {
  @Checked('isUserName', (value) =>
    value === null || (typeof value === 'string' && value.length >= 1 && value.length <= USER_NAME_MAX)
      ? undefined
      : 'must be the name of a user, or null for nobody',
  )
  @Shown({ type: ['string', 'null'], maxLength: USER_NAME_MAX, description: 'null for nobody' })
  assignee!: string | null;
}

export class AlertReply {
  @Uuid()
  id!: string;

  @OneOf(...Object.keys(ALERT_TYPES))
  type!: string;

  @OneOf(...SEVERITIES)
  severity!: string;

  @OneOf(...ALERT_STATES)
  state!: AlertState;

  @Schema({ type: ['string', 'null'], format: 'uuid' })
  @Text({ max: 36 })
  computerId!: string | null;

  /** Of a computer whose record was removed the last one. */
  @Schema({ type: ['string', 'null'] })
  @Text({ max: 256 })
  computerName!: string | null;

  @Schema({ type: 'string', format: 'date-time', description: 'the deadline that passed, not when it was noticed' })
  @Text({ max: 32 })
  raisedAt!: string;

  /** How often the condition began while the alert was open: a second change of a clock is counted, not raised anew. */
  @Integer(1, OCCURRENCES_MAX)
  occurrences!: number;

  @Schema({ type: ['string', 'null'], format: 'date-time' })
  @Text({ max: 32 })
  closedAt!: string | null;

  @Shown({ type: ['string', 'null'], format: 'date-time' })
  acknowledgedAt!: string | null;

  @Shown({ type: ['string', 'null'], description: 'the id of the user or key' })
  acknowledgedBy!: string | null;

  /** The last one; the history has them all. */
  @Shown({ type: ['string', 'null'] })
  comment!: string | null;

  @Shown({ type: ['string', 'null'], description: 'the name of the user who looks after it' })
  assignee!: string | null;

  @Shown({ type: ['string', 'null'], format: 'date-time' })
  snoozedUntil!: string | null;

  @Shown({ type: ['string', 'null'], format: 'uuid', description: 'the mass-outage that it is part of' })
  incidentId!: string | null;

  /** The condition comes and goes so often that only this is told. */
  @Shown({ type: 'boolean' })
  flapping!: boolean;

  /** What keeps recipients from being told more; null for nothing. */
  @Shown({ type: ['string', 'null'], enum: [...HOLDS, null] })
  heldBy!: HeldBy | null;

  /** What it was decided to tell recipients, by whatever route there is; whether it arrived the deliveries say. */
  @OneOf(...TOLD)
  told!: Told;

  @Text({ max: 64 })
  reason!: string;

  @Schema({ type: 'object', additionalProperties: true, description: 'what is known beside the reason' })
  detail!: Readonly<Record<string, unknown>>;
}

/** One act of somebody on an alert, from the audit log. */
export class AlertActReply {
  @Uuid()
  id!: string;

  @Instant()
  at!: string;

  @OneOf('acknowledged', 'dismissed', 'snoozed', 'unsnoozed', 'commented', 'assigned')
  action!: string;

  @Text({ max: 256 })
  actorId!: string;

  @Text({ max: 256 })
  actorName!: string;

  @Shown({ type: ['string', 'null'], description: 'what was said with it' })
  comment!: string | null;

  @Shown({ type: ['string', 'null'], format: 'date-time', description: 'of snoozing' })
  until!: string | null;

  @Shown({ type: ['string', 'null'], description: 'of assigning; null for nobody' })
  assignee!: string | null;
}
