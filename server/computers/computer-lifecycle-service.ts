import { createLedger } from '../../policies/listening-ledger.js';
import type { PowerState } from '../../policies/status-model.js';
import { judge } from '../../policies/verdict-rules.js';
import { invalidFields, Problem } from '../../lib/problem.js';
import { endCommandsOf } from '../agent-commands/command-repository.js';
import type { AlertWriter } from '../alerts/alert.js';
import type { CertificateRepository } from '../certificates/certificate-repository.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import { dialSettingsOf, orderFarewell } from '../dials/index.js';
import { findIsolation } from '../firewall/index.js';
import { clearDrift } from '../heartbeats/covered-drift.js';
import type { DeafSpan } from '../listening/listening.js';
import type { Caller, EditInstant, TransactionManager } from '../policies/forest-edit.js';
import { readGeneration } from '../policies/forest-repository.js';
import {
  LIVENESS_COLUMNS,
  LIVENESS_TABLES,
  settingsSubjectOf,
  verdictFactsOf,
  type LivenessRow,
} from '../statuses/liveness-row.js';
import type { StatusTransition, StatusWriter } from '../statuses/status.js';
import { auditComputer } from './computer-audit.js';
import { createComputerRepository, type ComputerRepository } from './computer-repository.js';
import { expiryFaults, nextPower } from './computer-rules.js';
import type { ComputerServiceDeps } from './computer-service.js';
import type { Computer } from './computer.js';

export interface ComputerLifecycleDeps extends ComputerServiceDeps {
  readonly statuses: StatusWriter;
  readonly alerts: AlertWriter;
  readonly certificates: Pick<CertificateRepository, 'revokeOf'>;
  /** The deaf spans that are known now, of the listening ledger. */
  readonly spans: () => readonly DeafSpan[];
}

export interface PowerReport {
  readonly state: PowerState;
  /** Who says so; the caller's name unless given. */
  readonly source: string | undefined;
  /** Wall time in Unix milliseconds until which it is believed. */
  readonly expiresAtMs: number | null;
}

export interface Removal {
  readonly ifMatch: number | undefined;
  /** Also while it is isolated, though nobody can ask for the code that ends that any more. */
  readonly isForced: boolean;
}

/** What happens to a computer as a whole. Each takes the live row's lock first, as the reports do. */
export interface ComputerLifecycleService {
  /** Its certificates count no more and its status is revoked for good; a second time changes nothing. */
  revoke(caller: Caller, computerId: string): Promise<void>;
  /** Revokes and forgets the record; the agent is answered `computer-removed`. Throws `computer-isolated`. */
  remove(caller: Caller, computerId: string, removal: Removal): Promise<void>;
  setPower(caller: Caller, computerId: string, report: PowerReport): Promise<Computer>;
}

export function createComputerLifecycleService(deps: ComputerLifecycleDeps): ComputerLifecycleService {
  const act = async <T>(caller: Caller, computerId: string, work: (act: Act) => Promise<T>): Promise<T> => {
    const result = await deps.inTransaction(async (manager) =>
      work(await beginAct({ deps, manager }, caller, computerId)),
    );
    deps.hints.reconsider([computerId]);
    return result;
  };
  return {
    revoke: (caller, computerId) => act(caller, computerId, (begun) => revoke(deps, begun)),
    remove: (caller, computerId, removal) => act(caller, computerId, (begun) => remove(deps, begun, removal)),
    setPower: (caller, computerId, report) => act(caller, computerId, (begun) => setPower(deps, begun, report)),
  };
}

/** One computer under its locks. */
interface Act {
  readonly caller: Caller;
  readonly manager: TransactionManager;
  readonly sql: Sql;
  readonly repository: ComputerRepository;
  readonly computer: Computer;
  readonly live: LivenessRow;
  readonly at: EditInstant;
}

interface ActStart {
  readonly deps: ComputerLifecycleDeps;
  readonly manager: TransactionManager;
}

async function beginAct({ deps, manager }: ActStart, caller: Caller, computerId: string): Promise<Act> {
  const repository = createComputerRepository(manager);
  const sql = sqlOfManager(manager);
  await repository.lockLive(computerId);
  const computer = await repository.lock(caller.scope, computerId);
  const live = computer && (await readLive(sql, computerId));
  if (!live) throw new Problem('computer-not-found');
  const at = { fleet: Math.floor(deps.clock.fleet()), wall: new Date(deps.clock.wall()) };
  return { caller, manager, sql, repository, computer, live, at };
}

async function readLive(sql: Sql, computerId: string): Promise<LivenessRow | undefined> {
  const [row] = await sql.query<LivenessRow>(
    `SELECT ${LIVENESS_COLUMNS} FROM ${LIVENESS_TABLES} WHERE computers.id = $1`,
    [computerId],
  );
  return row;
}

async function revoke(deps: ComputerLifecycleDeps, act: Act): Promise<void> {
  const { computer, live, at, caller, manager } = act;
  if (live.status === 'revoked') return;
  await sayFarewell(deps, act);
  await deps.certificates.revokeOf(act.sql, computer.id, { reason: 'computer-revoked', at: at.wall.getTime() });
  const transition = { computerId: computer.id, from: live.status, to: 'revoked', reason: 'revoked' } as const;
  const settled = { since: at.fleet, offlineAt: null, offlineAlert: null };
  await deps.statuses.apply(act.sql, [{ ...transition, ...settled }], at.fleet);
  await clearDrift(act.sql, computer.id);
  await endCommandsOf(act.sql, computer.id, { reason: 'computer-revoked', at: at.fleet });
  await auditComputer({ ...deps, manager }, { caller, action: 'computer.revoked', before: computer, after: computer });
}

async function remove(deps: ComputerLifecycleDeps, act: Act, { ifMatch, isForced }: Removal): Promise<void> {
  const { computer, at, caller, manager } = act;
  if (ifMatch !== undefined && ifMatch !== computer.revision) throw new Problem('revision-stale');
  if (!isForced && (await findIsolation(act.sql, computer.id)) !== undefined) throw new Problem('computer-isolated');
  await sayFarewell(deps, act);
  await deps.certificates.revokeOf(act.sql, computer.id, { reason: 'computer-removed', at: at.wall.getTime() });
  await deps.alerts.keepName(act.sql, computer);
  await deps.alerts.resolveOfComputers(act.sql, [{ computerId: computer.id, at: at.fleet }]);
  await endCommandsOf(act.sql, computer.id, { reason: 'computer-removed', at: at.fleet });
  await act.repository.remove(computer.id);
  await auditComputer({ ...deps, manager }, { caller, action: 'computer.deleted', before: computer });
}

/** An agent that never dials is told by one more dial, where it was reached until now. */
async function sayFarewell({ cache }: ComputerLifecycleDeps, { sql, live, at }: Act): Promise<void> {
  await cache.ensure(await readGeneration(sql));
  const { listenerPort } = dialSettingsOf(cache.settingsOf(settingsSubjectOf(live)));
  await orderFarewell(sql, { computerId: live.computer_id, settingPort: listenerPort, at: at.fleet });
}

async function setPower(deps: ComputerLifecycleDeps, act: Act, report: PowerReport): Promise<Computer> {
  const { computer, at, caller, manager } = act;
  const faults = expiryFaults(report.expiresAtMs, at.wall.getTime());
  if (faults.length > 0) throw invalidFields(faults);
  const said = {
    state: report.state,
    source: report.source ?? caller.actor.name,
    expiresAt: report.expiresAtMs === null ? null : Math.floor(deps.clock.toFleet(report.expiresAtMs)),
  };
  const after: Computer = { ...computer, power: nextPower(computer.power, said, at.fleet) };
  await act.repository.store(after);
  await deps.cache.ensure(await readGeneration(act.sql));
  const live = await readLive(act.sql, computer.id);
  const transition = live && powerTransition(deps, live, at.fleet);
  if (transition) await deps.statuses.apply(act.sql, [transition], at.fleet);
  await auditComputer({ ...deps, manager }, { caller, action: 'computer.power-told', before: computer, after });
  return after;
}

/**
 * What a power state changes at once. Only what a person said is acted on here: whoever is silent too long is judged by
 * the verdict job, which must first prove that it listened.
 */
function powerTransition(deps: ComputerLifecycleDeps, live: LivenessRow, at: number): StatusTransition | undefined {
  const settings = deps.cache.settingsOf(settingsSubjectOf(live));
  const facts = verdictFactsOf(live, settings);
  const verdict = judge({ facts, rules: settings.verdictRules, ledger: createLedger(deps.spans()) }, at);
  const isStop = verdict.status === 'stopped' && live.status !== 'stopped';
  const isStart = verdict.status === 'online' && live.status === 'stopped';
  if (!isStop && !isStart) return undefined;
  const isAlertOpen = live.status === 'offline';
  return {
    computerId: live.computer_id,
    from: live.status,
    to: verdict.status,
    reason: verdict.reason,
    since: verdict.since,
    offlineAt: verdict.offlineAt,
    offlineAlert: isAlertOpen ? verdict.alert : null,
  };
}
