import { Integer, OneOf, Optional, Schema, Text, Uuid } from '../admin-api/dto.js';
import { refTo } from '../admin-api/dto-schemas.js';
import { PlainPageQuery } from '../admin-api/page.js';
import { Refined } from '../admin-api/refined.js';
import { GivenInstant, Instant, Shown } from '../admin-api/shown.js';
import { LabelFilters } from '../computers/index.js';
import { groupFaults, pagingFaults } from './report-rules.js';

const INSTANT = { type: 'string', format: 'date-time' } as const;
const COUNT_MAX = Number.MAX_SAFE_INTEGER;
const SECONDS = { type: 'number', minimum: 0 } as const;

@Refined<AvailabilityQuery>(['groupBy', 'key'], ({ groupBy, key }) => groupFaults({ groupBy, key }))
@Refined<AvailabilityQuery>(['groupBy', 'cursor'], ({ groupBy, cursor }) => pagingFaults({ groupBy, cursor }))
@Refined<AvailabilityQuery>(['groupBy', 'sort'], ({ groupBy, sort }) => pagingFaults({ groupBy, sort }))
export class AvailabilityQuery extends PlainPageQuery {
  @GivenInstant()
  from!: string;

  /** Now unless given; never in the future. */
  @Optional()
  @GivenInstant({ description: 'now unless given' })
  to?: string;

  @Optional()
  @OneOf('computer', 'policy', 'label')
  @Schema({ default: 'computer', description: 'policy: each policy with all below it; label: by the values of key' })
  groupBy?: 'computer' | 'policy' | 'label';

  /** The label whose values are the groups. */
  @Optional()
  @Text({ min: 1, max: 63 })
  key?: string;

  /** The policy and all below it. */
  @Optional()
  @Uuid()
  policyId?: string;

  @LabelFilters()
  label?: string[];

  @Optional()
  @Uuid()
  computerId?: string;

  @Optional()
  @OneOf('include', 'exclude')
  @Schema({ default: 'include', description: 'exclude: time in maintenance windows counts for nothing' })
  maintenance?: 'include' | 'exclude';

  @Optional()
  @OneOf('json', 'csv')
  @Schema({ description: 'json unless asked for here or by Accept: text/csv' })
  format?: 'json' | 'csv';
}

/** Sums of one computer or of all of a group. */
export class AvailabilitySumsDto {
  @Integer(0, COUNT_MAX)
  computers!: number;

  @Shown({ ...SECONDS, description: 'of the range from coveredFrom on, by all computers' })
  rangeSeconds!: number;

  @Shown(SECONDS)
  onlineSeconds!: number;

  @Shown(SECONDS)
  lateSeconds!: number;

  @Shown(SECONDS)
  offlineSeconds!: number;

  @Shown(SECONDS)
  stoppedSeconds!: number;

  @Shown({ ...SECONDS, description: 'never seen yet' })
  pendingSeconds!: number;

  @Shown(SECONDS)
  revokedSeconds!: number;

  @Shown({ ...SECONDS, description: 'before the record was made' })
  notEnrolledSeconds!: number;

  @Shown({ ...SECONDS, description: 'nobody listened: never counted against the computer' })
  deafSeconds!: number;

  @Shown({
    ...SECONDS,
    description: 'in windows as they are set now; with maintenance=include these are counted by status as well',
  })
  maintenanceSeconds!: number;

  @Shown({
    type: ['number', 'null'],
    minimum: 0,
    maximum: 100,
    description: '(online + late) / (online + late + offline), never rounded up; null where none of them occurs',
  })
  availabilityPercent!: number | null;

  /** Unbroken times offline of which any part counts; one that began before the range is one of them. */
  @Integer(0, COUNT_MAX)
  outages!: number;

  @Shown({ ...SECONDS, description: 'what counts of it within the range' })
  longestOutageSeconds!: number;

  @Shown({ type: ['number', 'null'], minimum: 0, description: 'mean of the outages that ended by a return' })
  mttrSeconds!: number | null;
}

export class AvailabilityItemDto extends AvailabilitySumsDto {
  @Shown({ type: ['string', 'null'], format: 'uuid', description: 'of the computer or policy; null for a label' })
  id!: string | null;

  @Shown({ type: ['string', 'null'], description: 'or the value of the label; null for computers without it' })
  name!: string | null;
}

export class AvailabilityReply {
  @Instant()
  from!: string;

  @Instant()
  to!: string;

  @Shown({
    ...INSTANT,
    description: 'from, or the begin of what is kept where that is later: nothing before it counts',
  })
  coveredFrom!: string;

  @Shown({ type: 'array', items: refTo(AvailabilityItemDto) })
  items!: readonly AvailabilityItemDto[];

  @Shown({
    oneOf: [refTo(AvailabilitySumsDto), { type: 'null' }],
    description: 'of all computers asked for; null where the answer is one page of several',
  })
  totals!: AvailabilitySumsDto | null;

  @Shown({ type: ['string', 'null'], description: 'the cursor of the next page; null on the last one' })
  next!: string | null;
}
