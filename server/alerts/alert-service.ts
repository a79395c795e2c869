import { isDeepStrictEqual } from 'node:util';
import { toRfc3339 } from '../../lib/clock.js';
import { invalidFields, Problem, type FieldError } from '../../lib/problem.js';
import type { Actor } from '../access/actor.js';
import type { Scope } from '../access/scope.js';
import type { AuditLog } from '../audit/audit.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import { isUserNamed } from '../users/index.js';
import type { Alert } from './alert.js';
import type { AlertChangeKind, AlertOutbox } from './alert-outbox.js';
import { findAlert, lockAlert, saveAlert } from './alert-repository.js';
import {
  acknowledgeAlert,
  assignAlert,
  commentAlert,
  dismissAlert,
  snoozeAlert,
  snoozeFaults,
  unsnoozeAlert,
  type AlertAction,
} from './alert-rules.js';

type AlertSubject = Pick<Alert, 'type' | 'computerId'>;

/** A condition that an open alert covers, and that shows once the alert is dismissed. */
export interface CoveredConditions {
  /** Holds the condition still until the transaction ends; its locks come before those of alerts. */
  lock(sql: Sql, alert: AlertSubject): Promise<void>;
  /** Raises what the dismissed alert covered and what still goes on. */
  uncover(sql: Sql, alert: AlertSubject, at: FleetInstant): Promise<void>;
}

export interface AlertServiceDeps {
  readonly fleetClock: FleetClock;
  readonly inTransaction: UnitOfWork;
  readonly audit: AuditLog;
  readonly covered: CoveredConditions;
  readonly outbox: AlertOutbox;
}

export interface AlertCommand {
  readonly id: string;
  readonly actor: Actor;
  readonly scope: Scope;
  readonly comment: string | undefined;
}

/**
 * Each answers the alert as it then is, and notes nothing where nothing changed; only `comment` is always noted. Each throws
 * `alert-not-found`, and `beyond-scope` for an incident that is seen in part; all but `comment` and `unsnooze` throw `alert-already-closed`; `dismiss` also `alert-resolves-itself`.
 */
export interface AlertService {
  acknowledge(command: AlertCommand): Promise<Alert>;
  dismiss(command: AlertCommand): Promise<Alert>;
  /** Until a wall instant; throws `request-invalid` unless it is within the year to come. */
  snooze(command: AlertCommand, untilWall: number): Promise<Alert>;
  unsnooze(command: AlertCommand): Promise<Alert>;
  comment(command: AlertCommand & { readonly comment: string }): Promise<Alert>;
  /** Null takes it from whoever has it; throws `request-invalid` when no user has the name. */
  assign(command: AlertCommand, assignee: string | null): Promise<Alert>;
}

export function createAlertService(deps: AlertServiceDeps): AlertService {
  return {
    acknowledge: (command) => act(deps, command, { change: 'acknowledged', decide: acknowledgeAlert }),
    dismiss: (command) => act(deps, command, { change: 'dismissed', decide: dismissAlert }),
    async snooze(command, untilWall) {
      const at = deps.fleetClock.fleet();
      const now = deps.fleetClock.toWall(at);
      const until = at + untilWall - now;
      const faults = snoozeFaults(untilWall, now);
      if (faults.length > 0) throw invalidFields(faults);
      return act(deps, command, {
        change: 'snoozed',
        decide: (alert, { comment }) => snoozeAlert(alert, until, comment),
        told: { until: toRfc3339(untilWall) },
      });
    },
    unsnooze: (command) => act(deps, command, { change: 'unsnoozed', decide: unsnoozeAlert }),
    comment: (command) =>
      act(deps, command, { change: 'commented', decide: (alert) => commentAlert(alert, command.comment) }),
    assign: (command, assignee) =>
      act(deps, command, {
        change: 'assigned',
        decide: (alert, { comment }) => assignAlert(alert, assignee, comment),
        prepare: (sql) => assertUser(sql, command.scope, assignee),
        told: { assignee },
      }),
  };
}

async function assertUser(sql: Sql, scope: Scope, name: string | null): Promise<void> {
  const faults = await assigneeFaults(sql, scope, name);
  if (faults.length > 0) throw invalidFields(faults);
}

/** Nobody looks after an alert that was given to a name which no user of the scope has. */
export async function assigneeFaults(sql: Sql, scope: Scope, name: string | null): Promise<readonly FieldError[]> {
  if (name === null || (await isUserNamed(sql, scope, name))) return [];
  return [{ pointer: '#/assignee', detail: 'must be the name of a user' }];
}

/** Throws `beyond-scope` for an incident that reaches beyond the caller's scope. */
export function assertWhole({ isSeenInPart }: Pick<Alert, 'isSeenInPart'>): void {
  if (!isSeenInPart) return;
  throw new Problem('beyond-scope', { detail: 'The incident holds computers of others, too; act on your own alerts.' });
}

/** Acts of which recipients may have to hear, or that change whether they may. */
const TELLING: ReadonlySet<string> = new Set<AlertChangeKind>(['acknowledged', 'dismissed', 'snoozed', 'unsnoozed']);

interface Act {
  readonly change: AlertChangeKind | 'commented' | 'assigned';
  readonly decide: (alert: Alert, action: AlertAction) => Alert;
  /** Before the alert is locked. */
  readonly prepare?: (sql: Sql) => Promise<void>;
  /** What the audit log keeps beside what every act leaves there. */
  readonly told?: Readonly<Record<string, unknown>>;
}

function act(
  deps: AlertServiceDeps,
  command: AlertCommand,
  { change, decide, prepare, told = {} }: Act,
): Promise<Alert> {
  const { id, actor, comment } = command;
  const isClosing = change === 'dismissed';
  // The same words again are an act; anything else that changes nothing leaves no trace.
  const isSaying = change === 'commented';
  const at = deps.fleetClock.fleet();
  return deps.inTransaction(async (manager) => {
    const sql = sqlOfManager(manager);
    await prepare?.(sql);
    const before = await lock(deps.covered, sql, { ...command, isClosing });
    if (!before) throw new Problem('alert-not-found');
    assertWhole(before);
    const after = decide(before, { actorId: actor.id, at, comment });
    if (!isSaying && isDeepStrictEqual(after, before)) return after;
    await saveAlert(sql, after);
    if (isClosing) await deps.covered.uncover(sql, after, after.closedAt ?? at);
    const isRepeated = change === 'acknowledged' && before.state === 'acknowledged';
    if (TELLING.has(change) && !isRepeated)
      await deps.outbox.append(sql, [{ alertId: id, change: change as AlertChangeKind, at }]);
    await deps.audit.append(sql, {
      actor,
      action: `alert.${change}`,
      subjectType: 'alert',
      subjectId: id,
      before: { state: before.state, comment: before.comment },
      after: { state: after.state, comment: after.comment, type: after.type, computerId: after.computerId, ...told },
    });
    return after;
  });
}

interface Wanted {
  readonly id: string;
  readonly scope: Scope;
  readonly isClosing: boolean;
}

async function lock(covered: CoveredConditions, sql: Sql, { id, scope, isClosing }: Wanted) {
  const seen = isClosing ? await findAlert(sql, scope, id) : undefined;
  if (seen) await covered.lock(sql, seen);
  return lockAlert(sql, scope, id);
}
