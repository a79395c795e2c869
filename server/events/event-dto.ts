import { IsInt } from 'class-validator';
import { LANES, SEVERITIES } from '../../protocol/heartbeat-messages.js';
import { OneOf, Optional, QueryInteger, Text, Uuid } from '../admin-api/dto.js';
import { PageQuery } from '../admin-api/page.js';
import { Instant, Shown } from '../admin-api/shown.js';

export class EventsQuery extends PageQuery {
  @Optional()
  @Text({ min: 1, max: 32 })
  lane?: string;

  @Optional()
  @Text({ min: 1, max: 64 })
  kind?: string;

  @Optional()
  @OneOf(...SEVERITIES)
  severity?: string;

  @Optional()
  @QueryInteger(0, 1_000_000)
  code?: number;
}

export class EventDto {
  @Uuid()
  id!: string;

  /** Null for events of the manager itself. */
  @Shown({ type: ['string', 'null'], format: 'uuid' })
  computerId!: string | null;

  @Shown({ type: 'string', examples: [...LANES] })
  lane!: string;

  /** Lane, epoch and sequence are the agent's own and kept for ever. */
  @Text({ max: 64 })
  epoch!: string;

  @IsInt()
  sequence!: number;

  /** By the agent's clock: a claim. */
  @Instant()
  occurredAt!: string;

  @Instant()
  receivedAt!: string;

  @Text({ max: 64 })
  kind!: string;

  @Shown({ type: ['integer', 'null'] })
  code!: number | null;

  @OneOf(...SEVERITIES)
  severity!: string;

  @Text({ max: 8192, multiline: true })
  message!: string;

  @Shown({})
  data!: unknown;
}
