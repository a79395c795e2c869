import type { AuditLog } from '../audit/audit.js';
import { sqlOfManager } from '../database/sql.js';
import type { Caller, TransactionManager } from '../policies/forest-edit.js';
import type { Computer } from './computer.js';

export interface AuditedComputerChange {
  readonly caller: Caller;
  /** `computer.created` and the like. */
  readonly action: string;
  readonly before?: Computer;
  readonly after?: Computer;
}

export async function auditComputer(
  { audit, manager }: { readonly audit: AuditLog; readonly manager: TransactionManager },
  { caller, action, before, after }: AuditedComputerChange,
): Promise<void> {
  await audit.append(sqlOfManager(manager), {
    actor: caller.actor,
    action,
    subjectType: 'computer',
    subjectId: (after ?? before)?.id ?? null,
    ...(before ? { before: auditedFields(before) } : {}),
    ...(after ? { after: auditedFields(after) } : {}),
  });
}

function auditedFields({ name, kind, address, policyId, labels, overrides, revision, power }: Computer): object {
  return { name, kind, address, policyId, labels, overrides, revision, powerState: power.state };
}
