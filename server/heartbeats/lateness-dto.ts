import { Optional, QueryInteger, Schema } from '../admin-api/dto.js';
import { Shown } from '../admin-api/shown.js';

const COUNTS = { type: 'array', items: { type: 'integer' } };

export class LatenessQuery {
  /** Days of UTC, today included. */
  @Optional()
  @Schema({ default: 7 })
  @QueryInteger(1, 400)
  days: number = 7;
}

export class LatenessDayDto {
  @Shown({ type: 'string', format: 'date' })
  day!: string;

  @Shown(COUNTS)
  counts!: readonly number[];
}

export class LatenessReply {
  @Shown({
    ...COUNTS,
    description:
      'Upper bounds of the buckets, milliseconds, inclusive. The first counts what came on time or early; every list of counts has one more, for what came later than the last bound.',
  })
  boundsMs!: readonly number[];

  @Shown({ type: 'integer', description: 'heartbeats counted' })
  count!: number;

  @Shown({ ...COUNTS, description: 'the sum of all days' })
  total!: readonly number[];

  @Shown({ type: 'array', items: { $ref: '#/components/schemas/LatenessDayDto' } })
  days!: readonly LatenessDayDto[];
}
