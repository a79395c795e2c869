import { Transform } from 'class-transformer';
import { ArrayMaxSize, IsIn, IsObject } from 'class-validator';
import { COMMAND_TYPE_NAMES } from '../../protocol/command-types.js';
import { Integer, OneOf, Optional, Text, Uuid } from '../admin-api/dto.js';
import { refTo } from '../admin-api/dto-schemas.js';
import { PlainPageQuery } from '../admin-api/page.js';
import { Refined } from '../admin-api/refined.js';
import { Checked, GivenInstant, Instant, Shown } from '../admin-api/shown.js';
import { splitList } from '../computers/index.js';
import { kindFaults } from './command-request.js';
import { COMMAND_STATES, type CommandState } from './command.js';

const objectFault = (value: unknown): string | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? undefined : 'must be an object';

const NULLABLE_INSTANT = { type: ['string', 'null'], format: 'date-time' } as const;
const NULLABLE_TEXT = { type: ['string', 'null'] } as const;

/** What is to be done; docs/operations.md lists the types and what each takes. */
@Refined<CommandActionBody>(['type', 'args'], kindFaults)
export class CommandActionBody {
  @OneOf(...COMMAND_TYPE_NAMES)
  @Shown({ enum: [...COMMAND_TYPE_NAMES] })
  type!: string;

  /** By the type. */
  @Optional()
  @Checked('isArguments', objectFault)
  @Shown({ type: 'object' })
  args?: Record<string, unknown>;

  /** It is not delivered before. */
  @Optional()
  @GivenInstant()
  notBefore?: string;

  /** It is not delivered, nor begun by the agent, after it; 7 days unless given. */
  @Optional()
  @GivenInstant()
  expiresAt?: string;

  /** 0 unless given; of the commands that wait, the highest goes first. */
  @Optional()
  @Integer(0, 9)
  priority?: number;
}

export class QueueCommandBody extends CommandActionBody {
  /** The same key again answers the command that is there. */
  @Optional()
  @Text({ min: 1, max: 128 })
  idempotencyKey?: string;
}

export class CommandsQuery extends PlainPageQuery {
  @Optional()
  @Transform(({ value }: { value: unknown }) => splitList(value))
  @ArrayMaxSize(COMMAND_STATES.length)
  @IsIn([...COMMAND_STATES], { each: true, message: `must be one of ${COMMAND_STATES.join(', ')}` })
  @Shown({ type: 'array', items: { type: 'string', enum: [...COMMAND_STATES] } })
  state?: CommandState[];

  @Optional()
  @Text({ min: 1, max: 64 })
  type?: string;
}

export class CommandDeliveryDto {
  /** In words. */
  @Text({ max: 200 })
  how!: string;

  @Shown(NULLABLE_INSTANT)
  at!: string | null;
}

export class CommandFileDto {
  @Text({ max: 64 })
  contentType!: string;

  @Integer(1, 2_147_483_647)
  bytes!: number;

  @Text({ max: 64 })
  sha256!: string;

  /** `GET /commands/:id/file` answers it. */
  @Shown({ type: 'boolean' })
  isComplete!: boolean;
}

export class CommandDto {
  @Uuid()
  id!: string;

  @Uuid()
  computerId!: string;

  /** Counts the computer's commands. */
  @Integer(1, 2_147_483_647)
  number!: number;

  @Text({ max: 64 })
  type!: string;

  @IsObject()
  @Shown({ type: 'object' })
  args!: unknown;

  @Integer(0, 9)
  priority!: number;

  @OneOf(...COMMAND_STATES)
  state!: CommandState;

  /** Why it failed, expired or was cancelled: a code of docs/operations.md. */
  @Shown(NULLABLE_TEXT)
  reason!: string | null;

  @Shown(NULLABLE_TEXT)
  detail!: string | null;

  /** What the agent answered; by the type. */
  @Shown({})
  result!: unknown;

  /** What it brought; null where that is no file. */
  @Shown({ oneOf: [refTo(CommandFileDto), { type: 'null' }] })
  file!: CommandFileDto | null;

  /** When it will be delivered; null once it was, or never will be. */
  @Shown({ oneOf: [refTo(CommandDeliveryDto), { type: 'null' }] })
  delivery!: CommandDeliveryDto | null;

  @Shown(NULLABLE_TEXT)
  idempotencyKey!: string | null;

  /** The operation on many computers that it belongs to. */
  @Shown({ type: ['string', 'null'], format: 'uuid' })
  operationId!: string | null;

  @Text({ max: 128 })
  createdBy!: string;

  @Instant()
  queuedAt!: string;

  @Shown(NULLABLE_INSTANT)
  notBefore!: string | null;

  @Instant()
  expiresAt!: string;

  @Shown(NULLABLE_INSTANT)
  deliveredAt!: string | null;

  /** The agent told that it has it. */
  @Shown(NULLABLE_INSTANT)
  acknowledgedAt!: string | null;

  @Shown(NULLABLE_INSTANT)
  startedAt!: string | null;

  @Shown(NULLABLE_INSTANT)
  endedAt!: string | null;
}
