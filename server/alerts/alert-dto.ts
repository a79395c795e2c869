import { ALERT_TYPES, SEVERITIES } from '../../policies/status-model.js';
import { Integer, OneOf, Optional, Schema, Text, Uuid } from '../admin-api/dto.js';
import { PageQuery } from '../admin-api/page.js';
import { ALERT_STATES, type AlertState } from './alert.js';

const LONGEST_COMMENT = 2000;
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

  /** Alerts that this incident holds or held until they were resolved. */
  @Optional()
  @Uuid()
  incidentId?: string;
}

export class AlertActionBody {
  @Optional()
  @Text({ max: LONGEST_COMMENT, multiline: true })
  comment?: string;
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

  @Schema({ type: ['string', 'null'] })
  @Text({ max: 256 })
  computerName!: string | null;

  @Schema({ type: 'string', format: 'date-time', description: 'the deadline that passed, not when it was noticed' })
  @Text({ max: 32 })
  raisedAt!: string;

  @Schema({ type: ['string', 'null'], format: 'uuid', description: 'the mass-outage that it is part of' })
  @Text({ max: 36 })
  incidentId!: string | null;

  /** How often the condition began while the alert was open: a second change of a clock is counted, not raised anew. */
  @Integer(1, OCCURRENCES_MAX)
  occurrences!: number;

  @Schema({ type: ['string', 'null'], format: 'date-time' })
  @Text({ max: 32 })
  closedAt!: string | null;

  @Text({ max: 64 })
  reason!: string;

  @Schema({ type: 'object', additionalProperties: true, description: 'what is known beside the reason' })
  detail!: Readonly<Record<string, unknown>>;
}
