import { Problem } from '../../lib/problem.js';
import type { Actor } from '../access/actor.js';
import type { Scope } from '../access/scope.js';
import type { AuditLog } from '../audit/audit.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { Alert } from './alert.js';
import { lockAlert, saveAlert } from './alert-repository.js';
import { acknowledgeAlert, dismissAlert, type AlertAction } from './alert-rules.js';

export interface AlertServiceDeps {
  readonly fleetClock: FleetClock;
  readonly inTransaction: UnitOfWork;
  readonly audit: AuditLog;
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
    acknowledge: (command) => act(deps, command, { action: 'alert.acknowledged', decide: acknowledgeAlert }),
    dismiss: (command) => act(deps, command, { action: 'alert.dismissed', decide: dismissAlert }),
  };
}

interface Act {
  readonly action: string;
  readonly decide: (alert: Alert, action: AlertAction) => Alert;
}

function act(deps: AlertServiceDeps, command: AlertCommand, { action, decide }: Act): Promise<Alert> {
  const { id, actor, scope, comment } = command;
  const at = deps.fleetClock.fleet();
  return deps.inTransaction(async (manager) => {
    const sql = sqlOfManager(manager);
    const before = await lockAlert(sql, scope, id);
    if (!before) throw new Problem('alert-not-found');
    const after = decide(before, { actorId: actor.id, at, comment });
    await saveAlert(sql, after);
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
