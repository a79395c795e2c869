import { SEVERITIES, type Severity } from '../../policies/status-model.js';
import { parseLabelFilter } from '../computers/computer-rules.js';
import type { Routing } from './routing.js';

/** A computer that an alert is about: for an incident, each of those it holds. */
export interface ConcernedComputer {
  /** Its policy and all above it. */
  readonly lineage: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

export interface RoutedAlert {
  readonly type: string;
  readonly severity: string;
  /** None: it is about the manager itself. */
  readonly computers: readonly ConcernedComputer[];
}

/** Whether an alert that begins goes by this route. */
export function matches(
  route: Pick<Routing, 'minSeverity' | 'types' | 'policyId' | 'label'>,
  { type, severity, computers }: RoutedAlert,
): boolean {
  if (route.minSeverity !== null && rankOf(severity) < rankOf(route.minSeverity)) return false;
  if (route.types !== null && !route.types.includes(type)) return false;
  if (route.policyId === null && route.label === null) return true;
  return computers.some((computer) => isInside(route, computer));
}

function isInside(
  { policyId, label }: Pick<Routing, 'policyId' | 'label'>,
  { lineage, labels }: ConcernedComputer,
): boolean {
  if (policyId !== null && !lineage.includes(policyId)) return false;
  return label === null || bears(labels, label);
}

function bears(labels: Readonly<Record<string, string>>, label: string): boolean {
  const { key, value } = parseLabelFilter(label);
  if (!Object.hasOwn(labels, key)) return false;
  return value === undefined || labels[key] === value;
}

function rankOf(severity: string): number {
  return SEVERITIES.indexOf(severity as Severity);
}

export interface ReminderFacts {
  readonly state: string;
  /** What holds the alert's notifications back; null for nothing. */
  readonly heldBy: string | null;
  readonly snoozedUntil: number | null;
  /** The route's; null when it reminds no more. */
  readonly repeatMinutes: number | null;
}

/** What becomes of a reminder that is due: it is sent, put off because something holds the alert back, or it is void. */
export function decideReminder(
  { state, heldBy, snoozedUntil, repeatMinutes }: ReminderFacts,
  now: number,
): 'send' | 'later' | 'never' {
  if (state !== 'raised' || repeatMinutes === null) return 'never';
  const isSnoozed = snoozedUntil !== null && snoozedUntil > now;
  return heldBy !== null || isSnoozed ? 'later' : 'send';
}
