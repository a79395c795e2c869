import { DEFAULT_SETTINGS, type ResolvedSettings } from '../../policies/resolve-settings.js';
import type { ComputerKind } from '../../policies/setting-values.js';
import type { PowerState } from '../../policies/status-model.js';
import { invalidFields, Problem, type FieldError } from '../../lib/problem.js';
import type { Random } from '../../lib/random.js';
import type { Scope } from '../access/scope.js';
import type { AuditLog } from '../audit/audit.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { LivenessHints } from '../heartbeats/liveness-hints.js';
import type { PolicySettingsCache } from '../policies/cached-settings.js';
import { editForest, type Caller, type ForestEdit, type TransactionManager } from '../policies/forest-edit.js';
import { assertRevision } from '../policies/policy-rules.js';
import { auditComputer } from './computer-audit.js';
import { createComputerRepository, type ComputerRepository } from './computer-repository.js';
import { labelsFaults, patchLabels, rulesSinceAfter } from './computer-rules.js';
import type { Computer, Labels } from './computer.js';

export interface ComputerServiceDeps {
  /** Of the data source: for reading outside transactions. */
  readonly manager: TransactionManager;
  readonly inTransaction: UnitOfWork;
  readonly clock: FleetClock;
  readonly random: Random;
  readonly audit: AuditLog;
  readonly cache: PolicySettingsCache;
  readonly hints: LivenessHints;
}

export interface NewComputer {
  readonly name: string;
  readonly kind: ComputerKind;
  readonly address: string | null;
  readonly policyId: string;
  readonly labels: Labels;
  readonly powerState: PowerState;
  readonly comment: string;
}

/** Absent leaves; labels are patched by key. */
export interface ComputerChanges {
  readonly name?: string | undefined;
  readonly policyId?: string | undefined;
  readonly labels?: Readonly<Record<string, string | null>> | null | undefined;
  readonly address?: string | null | undefined;
  readonly comment?: string | undefined;
}

export interface ConditionalChanges {
  readonly changes: ComputerChanges;
  readonly ifMatch: number | undefined;
}

export interface ComputerService {
  get(scope: Scope, computerId: string): Promise<Computer>;
  create(caller: Caller, computer: NewComputer): Promise<Computer>;
  edit(caller: Caller, computerId: string, edit: ConditionalChanges): Promise<Computer>;
  /** What the labels would be too many of; nothing for an unknown computer. */
  changeFaults(
    scope: Scope,
    computerId: string,
    changes: Pick<ComputerChanges, 'labels'>,
  ): Promise<readonly FieldError[]>;
}

export function createComputerService(deps: ComputerServiceDeps): ComputerService {
  const repository = createComputerRepository(deps.manager);
  return {
    async get(scope, computerId) {
      const computer = await repository.find(scope, computerId);
      if (!computer) throw new Problem('computer-not-found');
      return computer;
    },
    async create(caller, wanted) {
      const computer = await deps.inTransaction((manager) => create(deps, manager, { caller, wanted }));
      deps.hints.reconsider([computer.id]);
      return computer;
    },
    async changeFaults(scope, computerId, { labels }) {
      const computer = labels === undefined ? undefined : await repository.find(scope, computerId);
      return computer && labels !== undefined ? tooManyLabels(patchLabels(computer.labels, labels)) : [];
    },
    async edit(caller, computerId, edition) {
      const computer = await editForest(deps, (edit) => change(deps, edit, { caller, computerId, ...edition }));
      deps.hints.reconsider([computerId]);
      return computer;
    },
  };
}

/** The computer under its lock, at the revision that the caller read. */
export async function lockComputer(
  repository: ComputerRepository,
  scope: Scope,
  asked: { readonly computerId: string; readonly ifMatch: number | undefined },
): Promise<Computer> {
  const computer = await repository.lock(scope, asked.computerId);
  if (!computer) throw new Problem('computer-not-found');
  assertRevision(computer, asked.ifMatch);
  return computer;
}

interface Creation {
  readonly caller: Caller;
  readonly wanted: NewComputer;
}

async function create(
  { clock, random, audit }: ComputerServiceDeps,
  manager: TransactionManager,
  { caller, wanted }: Creation,
): Promise<Computer> {
  const repository = createComputerRepository(manager);
  if (!(await repository.holdPolicy(caller.scope, wanted.policyId))) throw policyMissing();
  const at = { fleet: Math.floor(clock.fleet()), wall: new Date(clock.wall()) };
  const { powerState, comment, ...record } = wanted;
  const isTold = powerState !== 'unknown';
  const computer: Computer = {
    ...record,
    id: random.uuid(),
    overrides: null,
    revision: 1,
    power: {
      state: powerState,
      source: isTold ? caller.actor.name : null,
      since: powerState === 'stopped' ? at.fleet : null,
      expiresAt: null,
    },
    rulesSince: at.fleet,
    createdAt: at.fleet,
    enrolledAt: null,
  };
  await repository.insert(computer, { actor: caller.actor, comment, at });
  await auditComputer({ audit, manager }, { caller, action: 'computer.created', after: computer });
  return computer;
}

interface Edition extends ConditionalChanges {
  readonly caller: Caller;
  readonly computerId: string;
}

async function change(deps: ComputerServiceDeps, edit: ForestEdit, asked: Edition): Promise<Computer> {
  const { caller, changes } = asked;
  const repository = createComputerRepository(edit.manager);
  if (changes.address !== undefined) await repository.lockLive(asked.computerId);
  const before = await lockComputer(repository, caller.scope, asked);
  const wanted = applyChanges(before, changes);
  if (JSON.stringify(wanted) === JSON.stringify(before)) return before;
  const isMove = wanted.policyId !== before.policyId;
  if (isMove) await assertPolicyVisible(edit, caller, wanted.policyId);
  const rulesSince = isMove ? movedRulesSince(edit, before, wanted) : before.rulesSince;
  const note = { actor: caller.actor, comment: changes.comment ?? '', at: edit.at };
  const after = await repository.update({ ...wanted, rulesSince }, note);
  if (isMove) edit.touch();
  // What was reverted because no dial reached the agent is tried again with its next report.
  if (after.address !== before.address) await repository.forgetState(after.id);
  const action = isMove ? 'computer.moved' : 'computer.changed';
  await auditComputer({ ...deps, manager: edit.manager }, { caller, action, before, after });
  return after;
}

function applyChanges(before: Computer, changes: ComputerChanges): Computer {
  const { name = before.name, policyId = before.policyId } = changes;
  const address = changes.address === undefined ? before.address : changes.address;
  const labels = changes.labels === undefined ? before.labels : patchLabels(before.labels, changes.labels);
  const faults = tooManyLabels(labels);
  if (faults.length > 0) throw invalidFields(faults);
  return { ...before, name, policyId, address, labels };
}

/** Each is good by itself: a patch was read. */
function tooManyLabels(labels: Labels): readonly FieldError[] {
  return labelsFaults(labels).map(({ detail }) => ({ pointer: '#/labels', detail }));
}

async function assertPolicyVisible(edit: ForestEdit, { scope }: Caller, policyId: string): Promise<void> {
  if (!edit.policies.has(policyId) || !(await edit.repository.isVisible(scope, policyId))) throw policyMissing();
}

function policyMissing(): Problem {
  return new Problem('policy-not-found', { detail: 'The policy named in policyId does not exist.' });
}

function movedRulesSince(edit: ForestEdit, before: Computer, after: Computer): number {
  return rulesSinceAfter({
    before,
    after,
    policyBefore: resolvedPolicy(edit, before.policyId),
    policyAfter: resolvedPolicy(edit, after.policyId),
    policyRulesSince: edit.policies.get(before.policyId)?.rulesSince ?? 0,
    at: edit.at.fleet,
  });
}

export function resolvedPolicy(edit: ForestEdit, policyId: string): ResolvedSettings {
  return edit.resolvedNow().get(policyId) ?? DEFAULT_SETTINGS;
}
