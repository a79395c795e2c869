import { CAVEATS, type Caveat } from '../../policies/rehearsal-rules.js';
import { Integer, Optional } from '../admin-api/dto.js';
import { refTo } from '../admin-api/dto-schemas.js';
import { CheckedParts, Instant, Shown } from '../admin-api/shown.js';
import { rehearsalFaults } from './report-rules.js';

const COUNT_MAX = Number.MAX_SAFE_INTEGER;
export const DAYS_MAX = 400;

export class RehearsePolicyBody {
  /** As in PATCH settings, but only what offline alerts rest on. */
  @Optional()
  @CheckedParts('isRehearsable', rehearsalFaults)
  @Shown({
    type: 'object',
    additionalProperties: true,
    description:
      'JSON Merge Patch of the settings that offline alerts rest on: interval, misses allowed, grace, alerts for stopped machines, tolerance of goodbyes. Any other is refused.',
  })
  settings?: Record<string, unknown>;

  /** Up to now. */
  @Integer(1, DAYS_MAX)
  days!: number;
}

export class RehearsedAlertsDto {
  @Integer(0, COUNT_MAX)
  alerts!: number;

  @Shown({ type: 'integer', minimum: 0, description: 'ended within one interval of the computer' })
  flash!: number;

  @Shown({ type: 'integer', minimum: 0, description: 'with at least one alert' })
  computers!: number;
}

export class RehearsedComputerDto {
  @Shown({ type: 'string', format: 'uuid' })
  id!: string;

  @Shown({ type: 'string' })
  name!: string;

  @Shown({ type: 'integer', minimum: 0, description: 'alerts by the rehearsed settings' })
  rehearsed!: number;

  @Shown({ type: 'integer', minimum: 0, description: 'alerts by the settings in force, reckoned the same way' })
  present!: number;

  @Shown({ type: 'integer', minimum: 0, description: 'alerts that were raised in fact' })
  raised!: number;
}

export class RehearsalCaveatDto {
  @Shown({ type: 'string', enum: Object.keys(CAVEATS) })
  code!: Caveat;

  @Shown({ type: 'string' })
  detail!: string;
}

export class RehearsalReply {
  @Shown({ type: 'string', format: 'date-time', description: 'later than asked for where gaps are not kept as long' })
  coveredFrom!: string;

  @Instant()
  to!: string;

  @Shown({ type: 'integer', minimum: 0, description: 'computers of the policy and all below it, as attached now' })
  computers!: number;

  @Shown({ ...refTo(RehearsedAlertsDto), description: 'by the settings of the request' })
  rehearsed!: RehearsedAlertsDto;

  @Shown({ ...refTo(RehearsedAlertsDto), description: 'by the settings in force now, reckoned the same way' })
  present!: RehearsedAlertsDto;

  @Shown({ ...refTo(RehearsedAlertsDto), description: 'raised in fact, by the settings of their time' })
  raised!: RehearsedAlertsDto;

  @Shown({
    type: 'array',
    maxItems: 10,
    items: refTo(RehearsedComputerDto),
    description: 'those with the most alerts by the rehearsed settings',
  })
  sample!: readonly RehearsedComputerDto[];

  @Shown({
    type: 'array',
    items: refTo(RehearsalCaveatDto),
    description: 'what recorded gaps cannot tell about these settings',
  })
  caveats!: readonly RehearsalCaveatDto[];
}
