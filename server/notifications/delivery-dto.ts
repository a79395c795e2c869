import { IsArray } from 'class-validator';
import { Integer, OneOf, Optional, Schema, Text, Uuid } from '../admin-api/dto.js';
import { refTo } from '../admin-api/dto-schemas.js';
import { PlainPageQuery } from '../admin-api/page.js';
import { Instant, Shown } from '../admin-api/shown.js';
import { DELIVERY_STATES, type DeliveryState } from './delivery-repository.js';
import { MESSAGE_KINDS, type MessageKind } from './message.js';

const COUNT_MAX = 2_147_483_647;

export class DeliveriesQuery extends PlainPageQuery {
  @Optional()
  @OneOf(...DELIVERY_STATES)
  state?: DeliveryState;

  @Optional()
  @Uuid()
  channelId?: string;

  @Optional()
  @Uuid()
  routeId?: string;

  /** Messages that list this alert. */
  @Optional()
  @Uuid()
  alertId?: string;
}

export class DeliveryReply {
  @Uuid()
  id!: string;

  @Uuid()
  channelId!: string;

  @Shown({ type: ['string', 'null'], description: 'null when it was deleted' })
  channelName!: string | null;

  @Uuid()
  routeId!: string;

  @OneOf(...MESSAGE_KINDS)
  kind!: MessageKind;

  @Schema({ description: '`failed`: it is tried again; `dead`: it was given up, and can be resent' })
  @OneOf(...DELIVERY_STATES)
  state!: DeliveryState;

  @Integer(0, COUNT_MAX)
  attempts!: number;

  @Shown({ type: ['string', 'null'] })
  lastError!: string | null;

  @IsArray()
  @Shown({ type: 'array', items: { type: 'string', format: 'uuid' }, description: 'the first 100 that one may see' })
  alertIds!: readonly string[];

  @Integer(0, COUNT_MAX)
  alertCount!: number;

  @Instant()
  createdAt!: string;

  @Shown({ type: ['string', 'null'], format: 'date-time', description: 'when it is tried (again)' })
  dueAt!: string | null;

  @Shown({ type: ['string', 'null'], format: 'date-time', description: 'when it was delivered or given up' })
  endedAt!: string | null;
}

export class DeliveryAttemptDto {
  @Integer(1, COUNT_MAX)
  attempt!: number;

  @Instant()
  endedAt!: string;

  @Integer(0, COUNT_MAX)
  durationMs!: number;

  @Shown({ type: ['string', 'null'], description: 'null when it was delivered to everybody' })
  @Text({ max: 1000 })
  error!: string | null;
}

export class DeliveryDetailReply extends DeliveryReply {
  @IsArray()
  @Shown({ type: 'array', items: refTo(DeliveryAttemptDto), description: 'the last 100, newest first' })
  history!: readonly DeliveryAttemptDto[];
}
