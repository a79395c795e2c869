import { parseRfc3339 } from '../../lib/clock.js';
import type { FieldError } from '../../lib/problem.js';
import type { Scope } from '../access/scope.js';

const DAY_MS = 86_400_000;
const LONGEST_DAYS = 366;

export interface WindowRequest {
  readonly computerId?: string;
  readonly policyId?: string;
  readonly label?: string;
  readonly startsAt?: string;
  readonly endsAt: string;
  readonly comment: string;
}

/** For one computer, or for those of a policy, with a label, or both. */
export function targetFaults({
  computerId,
  policyId,
  label,
}: Pick<WindowRequest, 'computerId' | 'policyId' | 'label'>): readonly FieldError[] {
  if ((computerId ?? policyId ?? label) === undefined)
    return ['computerId', 'policyId', 'label'].map((field) => ({
      pointer: `#/${field}`,
      detail: 'one of computerId, policyId and label must be given',
    }));
  if (computerId === undefined) return [];
  return Object.entries({ policyId, label })
    .filter(([, value]) => value !== undefined)
    .map(([field]) => ({ pointer: `#/${field}`, detail: 'must not be given together with computerId' }));
}

/** Whoever may not change everything names a policy. */
export function scopeFaults({ computerId, policyId }: Partial<WindowRequest>, scope: Scope): readonly FieldError[] {
  if (computerId !== undefined || policyId !== undefined || scope.isAll) return [];
  return [
    { pointer: '#/policyId', detail: 'must name a policy that you may change, since a label is found everywhere' },
  ];
}

export interface JudgedAt {
  /** Wall milliseconds. */
  readonly now: number;
  readonly isSound: (pointer: string) => boolean;
}

/** What is wrong with begin and end, as far as each is an instant. */
export function timeFaults(
  request: Partial<Pick<WindowRequest, 'startsAt' | 'endsAt'>>,
  { now, isSound }: JudgedAt,
): readonly FieldError[] {
  const endsAt = parseRfc3339(request.endsAt ?? '');
  if (endsAt === undefined) return [];
  const pointer = '#/endsAt';
  if (endsAt <= now) return [{ pointer, detail: 'must be in the future' }];
  if (!isSound('#/startsAt')) return [];
  const startsAt = parseRfc3339(request.startsAt ?? '') ?? now;
  if (endsAt <= startsAt) return [{ pointer, detail: 'must be after startsAt' }];
  if (endsAt - startsAt <= LONGEST_DAYS * DAY_MS) return [];
  return [{ pointer, detail: `must be at most ${LONGEST_DAYS} days after startsAt` }];
}
