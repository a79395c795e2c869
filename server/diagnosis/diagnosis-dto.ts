import { IsArray, IsIn } from 'class-validator';
import { CONFIDENCES, EVIDENCE_SOURCES } from '../../policies/diagnosis-rules.js';
import { STATUS_REASONS } from '../../policies/status-model.js';
import { Text } from '../admin-api/dto.js';
import { refTo } from '../admin-api/dto-schemas.js';
import { Instant, Shown } from '../admin-api/shown.js';
import { STATUSES } from '../statuses/status.js';

const NULLABLE_BOOLEAN = { type: ['boolean', 'null'] } as const;

export class EvidenceDto {
  @Instant()
  at!: string;

  /** `dial`: a connection of the manager by its own schedule; `probe`: one that an operator asked for. */
  @IsIn([...EVIDENCE_SOURCES])
  source!: string;

  @Text({ max: 64 })
  code!: string;

  /** A sentence; parts of it may be the agent's own words. */
  @Text({ max: 4096 })
  detail!: string;
}

export class DiagnosisDto {
  @IsIn([...STATUSES])
  status!: string;

  @Instant()
  since!: string;

  @IsIn(Object.keys(STATUS_REASONS))
  reason!: string;

  /** `high`: the agent or the manager said so, or it was seen on a way that had worked; `low`: a guess, or nothing is known. */
  @IsIn([...CONFIDENCES])
  confidence!: string;

  /** Whether the machine answered since it was heard last, even without its agent; null where nobody can tell. */
  @Shown(NULLABLE_BOOLEAN)
  hostUp!: boolean | null;

  /** Newest first, at most fifty. */
  @IsArray()
  @Shown({ type: 'array', items: refTo(EvidenceDto) })
  evidence!: readonly EvidenceDto[];

  @IsArray()
  @Shown({ type: 'array', items: { type: 'string' } })
  advice!: readonly string[];
}

export class ProbeDto {
  @Instant()
  at!: string;

  /** `answered`, `own` where the manager had no room for it, or why it failed: the codes of `lastDial.result`. */
  @Text({ max: 64 })
  result!: string;

  @Shown({ type: ['string', 'null'] })
  detail!: string | null;

  @Shown(NULLABLE_BOOLEAN)
  hostUp!: boolean | null;
}
