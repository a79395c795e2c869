import { ALERT_TYPES, SEVERITIES, type Severity } from '../../policies/status-model.js';
import { Integer, Name, OneOf, Optional, OptionalOrNull, Schema, Text, Uuid } from '../admin-api/dto.js';
import { PageQuery } from '../admin-api/page.js';
import { Checked, CheckedList, Flag, Instant, Shown } from '../admin-api/shown.js';
import { labelFilterFault } from '../computers/computer-rules.js';

const NAME = { max: 128 };
const DAY_SECONDS = 86_400;
const MONTH_MINUTES = 43_200;
const TYPES = Object.keys(ALERT_TYPES);
const TYPES_SCHEMA = { type: ['array', 'null'], items: { type: 'string', enum: TYPES } };

export class RoutingsQuery extends PageQuery {
  @Optional()
  @Uuid()
  channelId?: string;
}

/** Absent or null: every one. */
class RoutingMembersBody {
  /** This severity and worse. */
  @OptionalOrNull()
  @OneOf(...SEVERITIES)
  minSeverity?: Severity | null;

  @OptionalOrNull()
  @CheckedList('isAlertTypes', {
    min: 1,
    max: TYPES.length,
    says: `must be a list of ${TYPES.join(', ')}`,
    faultOf: (type) => (TYPES.some((one) => one === type) ? undefined : `must be one of ${TYPES.join(', ')}`),
  })
  @Shown(TYPES_SCHEMA)
  types?: string[] | null;

  /** Computers of this policy and of all below it, and incidents that hold one of them. */
  @OptionalOrNull()
  @Uuid()
  policyId?: string | null;

  /** `key`, `key=value` or `key:value`; answered as `key=value`. */
  @OptionalOrNull()
  @Checked('isLabelFilter', labelFilterFault)
  @Shown({ type: 'string', maxLength: 320 })
  label?: string | null;

  /** What comes within this time becomes one message; 30 unless given. */
  @Optional()
  @Integer(0, DAY_SECONDS)
  groupSeconds?: number;

  /** Reminds until somebody acknowledges; absent or null: never. */
  @OptionalOrNull()
  @Integer(1, MONTH_MINUTES)
  repeatMinutes?: number | null;

  @Optional()
  @Flag()
  enabled?: boolean;
}

export class CreateRoutingBody extends RoutingMembersBody {
  @Name(NAME)
  name!: string;

  @Uuid()
  channelId!: string;
}

export class PatchRoutingBody extends RoutingMembersBody {
  @Optional()
  @Name(NAME)
  name?: string;

  @Optional()
  @Uuid()
  channelId?: string;
}

export class NotificationRouteReply {
  @Uuid()
  id!: string;

  @Text(NAME)
  name!: string;

  @Uuid()
  channelId!: string;

  @Shown({ type: ['string', 'null'] })
  minSeverity!: string | null;

  @Shown(TYPES_SCHEMA)
  types!: readonly string[] | null;

  @Shown({ type: ['string', 'null'], format: 'uuid' })
  policyId!: string | null;

  @Shown({ type: ['string', 'null'] })
  label!: string | null;

  @Integer(0, DAY_SECONDS)
  groupSeconds!: number;

  @Shown({ type: ['integer', 'null'] })
  repeatMinutes!: number | null;

  @Schema({ type: 'boolean' })
  enabled!: boolean;

  @Integer(1, Number.MAX_SAFE_INTEGER)
  revision!: number;

  @Instant()
  createdAt!: string;

  @Text({ max: 256 })
  createdBy!: string;

  @Instant()
  updatedAt!: string;
}
