import { IsArray, IsObject } from 'class-validator';
import { Name, OneOf, Optional, Text, Uuid } from '../admin-api/dto.js';
import { refTo } from '../admin-api/dto-schemas.js';
import { PageQuery } from '../admin-api/page.js';
import { Refined } from '../admin-api/refined.js';
import { Checked, GivenInstant, Instant, Shown } from '../admin-api/shown.js';
import { labelFilterFault } from '../computers/computer-rules.js';
import { targetFaults } from './maintenance-request.js';
import { WINDOW_STATES, type WindowState } from './maintenance-window.js';

const LONGEST_COMMENT = 1000;
const LONGEST_LABEL = 320;

const NULLABLE_ID = { type: ['string', 'null'], format: 'uuid' };

@Refined<CreateMaintenanceWindowBody>(['computerId', 'policyId', 'label'], targetFaults)
export class CreateMaintenanceWindowBody {
  /** For one computer alone. */
  @Optional()
  @Uuid()
  computerId?: string;

  /** For the computers of this policy and of those below it. */
  @Optional()
  @Uuid()
  policyId?: string;

  /** For computers with this label: `key`, `key=value` or `key:value`; with `policyId`, only those of them. */
  @Optional()
  @Checked('isLabelFilter', labelFilterFault)
  @Shown({ type: 'string', maxLength: LONGEST_LABEL })
  label?: string;

  /** At once unless given. */
  @Optional()
  @GivenInstant()
  startsAt?: string;

  @GivenInstant()
  endsAt!: string;

  /** Why; shown with each computer that is in maintenance. */
  @Name({ max: LONGEST_COMMENT })
  comment!: string;
}

export class MaintenanceWindowsQuery extends PageQuery {
  /** Only windows that are for this computer; the answer then tells what comes of its setting, too. */
  @Optional()
  @Uuid()
  computerId?: string;

  @Optional()
  @OneOf(...WINDOW_STATES)
  state?: WindowState;
}

export class MaintenanceWindowDto {
  @Uuid()
  id!: string;

  @Shown(NULLABLE_ID)
  computerId!: string | null;

  @Shown(NULLABLE_ID)
  policyId!: string | null;

  @Shown({ type: ['string', 'null'], description: '`key`, or `key=value`' })
  label!: string | null;

  @Instant()
  startsAt!: string;

  /** When it was ended early, that instant. */
  @Instant()
  endsAt!: string;

  @OneOf(...WINDOW_STATES)
  state!: WindowState;

  @Text({ max: LONGEST_COMMENT })
  comment!: string;

  @Instant()
  createdAt!: string;

  @Text({ max: 128 })
  createdBy!: string;
}

/**
 * Where a window comes from: the origin of the setting, or `window` for one made by API, with its comment as name; `above`,
 * without a name, for a policy that one may not see.
 */
export class MaintenanceSourceDto {
  @OneOf('default', 'policy', 'computer', 'window', 'above')
  kind!: string;

  @Shown(NULLABLE_ID)
  id!: string | null;

  @Text({ max: LONGEST_COMMENT })
  name!: string;
}

export class PresentMaintenanceDto {
  /** When it ends, whichever windows run into each other until then; null where no end is in sight. */
  @Shown({ type: ['string', 'null'], format: 'date-time' })
  until!: string | null;

  @IsObject()
  @Shown(refTo(MaintenanceSourceDto))
  source!: MaintenanceSourceDto;
}

export class UpcomingMaintenanceDto {
  @Instant()
  startsAt!: string;

  @Instant()
  endsAt!: string;
}

export class SettingMaintenanceDto {
  @IsObject()
  @Shown(refTo(MaintenanceSourceDto))
  source!: MaintenanceSourceDto;

  /** Whether a window of it runs now. */
  @Shown({ type: 'boolean' })
  running!: boolean;

  /** When the window that runs now ends; null while none runs, and where no end is in sight. */
  @Shown({ type: ['string', 'null'], format: 'date-time' })
  until!: string | null;

  /** Those that begin after it. */
  @IsArray()
  @Shown({ type: 'array', items: refTo(UpcomingMaintenanceDto) })
  next!: readonly UpcomingMaintenanceDto[];
}
