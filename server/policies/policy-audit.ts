import type { AuditLog } from '../audit/audit.js';
import type { Caller, ForestEdit } from './forest-edit.js';
import type { Policy } from './policy.js';

export interface AuditedChange {
  readonly caller: Caller;
  readonly action: string;
  readonly before?: Policy;
  readonly after?: Policy;
}

export async function auditPolicy(
  { audit }: { readonly audit: AuditLog },
  edit: ForestEdit,
  { caller, action, before, after }: AuditedChange,
): Promise<void> {
  await audit.append(edit.sql, {
    actor: caller.actor,
    action,
    subjectType: 'policy',
    subjectId: (after ?? before)?.id ?? null,
    ...(before ? { before: auditedContent(before) } : {}),
    ...(after ? { after: auditedContent(after) } : {}),
  });
}

function auditedContent({ name, parentId, description, settings, locks, revision }: Policy): object {
  return { name, parentId, description, settings, locks, revision };
}
