import { Problem } from '../../lib/problem.js';
import type { Actor } from '../access/actor.js';
import type { Scope } from '../access/scope.js';
import type { AuditLog } from '../audit/audit.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { Alert } from './alert.js';
import { findAlert, lockAlert, saveAlert } from './alert-repository.js';
import { acknowledgeAlert, dismissAlert, type AlertAction } from './alert-rules.js';

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
}

export interface AlertCommand {
  readonly id: string;
  readonly actor: Actor;
  readonly scope: Scope;
  readonly comment: string | undefined;
}

/** Both throw `alert-not-found` and `alert-already-closed`; `dismiss` also `alert-resolves-itself`. */
export interface AlertService {
  acknowledge(command: AlertCommand): Promise<Alert>;
  dismiss(command: AlertCommand): Promise<Alert>;
}

export function createAlertService(deps: AlertServiceDeps): AlertService {
  return {
    acknowledge: (command) =>
      act(deps, command, { action: 'alert.acknowledged', decide: acknowledgeAlert, isClosing: false }),
    dismiss: (command) => act(deps, command, { action: 'alert.dismissed', decide: dismissAlert, isClosing: true }),
  };
}

interface Act {
  readonly action: string;
  readonly decide: (alert: Alert, action: AlertAction) => Alert;
  readonly isClosing: boolean;
}

function act(deps: AlertServiceDeps, command: AlertCommand, { action, decide, isClosing }: Act): Promise<Alert> {
  const { id, actor, comment } = command;
  const at = deps.fleetClock.fleet();
  return deps.inTransaction(async (manager) => {
    const sql = sqlOfManager(manager);
    const before = await lock(deps.covered, sql, { ...command, isClosing });
    if (!before) throw new Problem('alert-not-found');
    const after = decide(before, { actorId: actor.id, at, comment });
    await saveAlert(sql, after);
    if (isClosing) await deps.covered.uncover(sql, after, after.closedAt ?? at);
    await deps.audit.append(sql, {
      actor,
      action,
      subjectType: 'alert',
      subjectId: id,
      before: { state: before.state, comment: before.comment },
      after: { state: after.state, comment: after.comment, type: after.type, computerId: after.computerId },
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
