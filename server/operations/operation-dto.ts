import { Transform, Type } from 'class-transformer';
import { ArrayMaxSize, IsIn, IsObject, ValidateNested } from 'class-validator';
import { Integer, isUuid, OneOf, Optional, Text, Uuid } from '../admin-api/dto.js';
import { refTo } from '../admin-api/dto-schemas.js';
import { PlainPageQuery } from '../admin-api/page.js';
import { CheckedList, Flag, Instant, Shown } from '../admin-api/shown.js';
import { CommandActionBody } from '../agent-commands/index.js';
import { labelFilterFault, splitList } from '../computers/index.js';
import { FLAGS, STATUSES } from '../statuses/status.js';
import { PACKAGE_FILTER_MAX, packageFilterFault } from '../telemetry/index.js';
import {
  OPERATION_STATES,
  TARGET_STATES,
  type OperationFilter,
  type OperationState,
  type TargetState,
} from './operation.js';

const MOST_IDS = 1000;
const MOST_FILTERS = 16;
const COUNT_MAX = 2_147_483_647;
const NULLABLE_TEXT = { type: ['string', 'null'] } as const;
const NULLABLE_INSTANT = { type: ['string', 'null'], format: 'date-time' } as const;
const COUNT = { type: 'integer', minimum: 0 } as const;

const oneOf =
  (words: readonly string[]) =>
  (value: unknown): string | undefined =>
    words.some((word) => word === value) ? undefined : `must be one of ${words.join(', ')}`;

interface FilterRules {
  /** What the list is of. */
  readonly what: string;
  readonly faultOf: (member: unknown) => string | undefined;
  /** Beside their type, how the members are described. */
  readonly items?: Readonly<Record<string, unknown>>;
}

function FilterList(name: string, { what, faultOf, items }: FilterRules): PropertyDecorator {
  const says = `must be a list of at most ${MOST_FILTERS} ${what}`;
  const check = CheckedList(name, { min: 0, max: MOST_FILTERS, says, faultOf });
  const show = Shown({ type: 'array', maxItems: MOST_FILTERS, items: { type: 'string', ...items } });
  return (target, member) => {
    check(target, member);
    show(target, member);
  };
}

/** The filters of the list of computers. All that is given must hold; an empty filter is every computer that is not revoked. */
export class BulkFilterBody implements OperationFilter {
  @Optional()
  @FilterList('isStatusList', { what: 'statuses', faultOf: oneOf(STATUSES), items: { enum: [...STATUSES] } })
  status?: string[];

  @Optional()
  @FilterList('isFlagList', { what: 'flags', faultOf: oneOf(FLAGS), items: { enum: [...FLAGS] } })
  flag?: string[];

  /** The policy and all below it. */
  @Optional()
  @Uuid()
  policyId?: string;

  @Optional()
  @FilterList('isLabelList', { what: 'labels: key, key:value or key=value', faultOf: labelFilterFault })
  label?: string[];

  @Optional()
  @FilterList('isPackageList', {
    what: 'packages: name or name@version',
    faultOf: packageFilterFault,
    items: { maxLength: PACKAGE_FILTER_MAX },
  })
  package?: string[];

  /** Part of the name. */
  @Optional()
  @Text({ min: 1, max: 256 })
  q?: string;

  @Optional()
  @CheckedList('isIdList', {
    min: 1,
    max: MOST_IDS,
    says: `must be a list of 1 to ${MOST_IDS} lower-case UUIDs`,
    faultOf: (id) => (isUuid(id) ? undefined : 'must be a lower-case UUID'),
  })
  @Shown({ type: 'array', maxItems: MOST_IDS, items: { type: 'string', format: 'uuid' } })
  computerIds?: string[];
}

export class BulkActionBody {
  /** Queued for every computer. */
  @IsObject({ message: 'must be an object' })
  @ValidateNested()
  @Type(() => CommandActionBody)
  command!: CommandActionBody;
}

export class BulkBody {
  @IsObject({ message: 'must be an object' })
  @ValidateNested()
  @Type(() => BulkFilterBody)
  filter!: BulkFilterBody;

  @IsObject({ message: 'must be an object' })
  @ValidateNested()
  @Type(() => BulkActionBody)
  action!: BulkActionBody;

  /** Only answers how many computers match. */
  @Optional()
  @Flag()
  dryRun?: boolean;

  /** Commands that are queued each second; 50 unless given. */
  @Optional()
  @Integer(1, 500)
  perSecond?: number;

  /** The same key again answers the operation that is there. */
  @Optional()
  @Text({ min: 1, max: 128 })
  idempotencyKey?: string;
}

export class TargetsQuery extends PlainPageQuery {
  @Optional()
  @Transform(({ value }: { value: unknown }) => splitList(value))
  @ArrayMaxSize(TARGET_STATES.length)
  @IsIn([...TARGET_STATES], { each: true, message: `must be one of ${TARGET_STATES.join(', ')}` })
  @Shown({ type: 'array', items: { type: 'string', enum: [...TARGET_STATES] } })
  state?: TargetState[];
}

export class OperationDto {
  @Uuid()
  id!: string;

  @OneOf(...OPERATION_STATES)
  state!: OperationState;

  @IsObject()
  @Shown(refTo(BulkFilterBody))
  filter!: object;

  @IsObject()
  @Shown(refTo(BulkActionBody))
  action!: object;

  @Integer(1, 500)
  perSecond!: number;

  /** The computers that matched when it began, as far as one may see them by now. */
  @Integer(0, COUNT_MAX)
  matched!: number;

  /** How many of them are where. */
  @Shown({
    type: 'object',
    required: [...TARGET_STATES],
    properties: Object.fromEntries(TARGET_STATES.map((state) => [state, COUNT])),
  })
  progress!: Readonly<Record<TargetState, number>>;

  @Instant()
  createdAt!: string;

  @Text({ max: 128 })
  createdBy!: string;

  /** The last command was queued, or it was cancelled. */
  @Shown(NULLABLE_INSTANT)
  queuedAt!: string | null;
}

export class OperationTargetDto {
  @Uuid()
  computerId!: string;

  @Text({ max: 253 })
  computerName!: string;

  @OneOf(...TARGET_STATES)
  state!: TargetState;

  @Shown(NULLABLE_TEXT)
  reason!: string | null;

  @Shown(NULLABLE_TEXT)
  detail!: string | null;

  @Shown({ type: ['string', 'null'], format: 'uuid' })
  commandId!: string | null;

  @Shown({})
  result!: unknown;

  @Shown(NULLABLE_INSTANT)
  endedAt!: string | null;
}
