import type { Random } from '../../lib/random.js';
import type { ForestEditDeps, TransactionManager } from './forest-edit.js';
import type { PolicyDependents } from './policy-dependents.js';
import type { ContentChanges } from './policy-rules.js';
import type { Policy, PolicyRevision } from './policy.js';

export interface PolicyServiceDeps extends ForestEditDeps {
  /** Of the data source: for reading outside transactions. */
  readonly manager: TransactionManager;
  readonly random: Random;
  readonly dependents: readonly PolicyDependents[];
}

export interface NewPolicy {
  readonly name: string;
  readonly parentId: string | null;
  readonly description: string;
  readonly settings: unknown;
  readonly comment: string;
}

/** Absent leaves; `parentId: null` makes it a root. */
export interface PolicyChanges {
  readonly name?: string | undefined;
  readonly parentId?: string | null | undefined;
  readonly description?: string | undefined;
  readonly comment?: string | undefined;
}

export interface Removal {
  readonly reassignTo: string | undefined;
  readonly comment: string;
  readonly ifMatch: number | undefined;
}

export interface Rollback {
  /** The revision whose settings and locks are restored. */
  readonly revision: number;
  readonly comment: string | undefined;
  readonly ifMatch: number | undefined;
}

export interface PolicyTreeNode extends Policy {
  readonly children: readonly PolicyTreeNode[];
}

export type RevisionWithChanges = PolicyRevision & { readonly changes: ContentChanges };
