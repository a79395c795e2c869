import { IsArray, IsBoolean, IsObject } from 'class-validator';
import { toRfc3339 } from '../../lib/clock.js';
import { Integer, Name, OneOf, Optional, OptionalOrNull, Text, Uuid, UuidOrNull } from '../admin-api/dto.js';
import { Instant, Shown } from '../admin-api/shown.js';
import { SettingsPatchMember } from './settings-member.js';
import type { PolicyTreeNode, RevisionWithChanges } from './policy-requests.js';
import type { Scope } from '../access/scope.js';
import type { Policy } from './policy.js';

const NAME_MAX = 128;
const DESCRIPTION_MAX = 2000;
const COMMENT_MAX = 1000;
const REVISION_MAX = 2_147_483_647;

const JSON_OBJECT = { type: 'object', additionalProperties: true } as const;

export class CreatePolicyBody {
  @Name({ max: NAME_MAX })
  name!: string;

  /** Null makes a root, which falls back to the catalogue's defaults. */
  @UuidOrNull()
  parentId!: string | null;

  @Optional()
  @Text({ max: DESCRIPTION_MAX, multiline: true })
  description?: string;

  /** Overrides by setting key. */
  @Optional()
  @SettingsPatchMember()
  settings?: Record<string, unknown>;

  @Optional()
  @Text({ max: COMMENT_MAX, multiline: true })
  comment?: string;
}

export class ChangePolicyBody {
  @Optional()
  @Name({ max: NAME_MAX })
  name?: string;

  /** Null makes it a root. */
  @OptionalOrNull()
  @Uuid()
  parentId?: string | null;

  @Optional()
  @Text({ max: DESCRIPTION_MAX, multiline: true })
  description?: string;

  @Optional()
  @Text({ max: COMMENT_MAX, multiline: true })
  comment?: string;
}

/** For edits whose body is free: why, kept in the revision. */
export class CommentQuery {
  @Optional()
  @Text({ max: COMMENT_MAX })
  comment?: string;
}

export class DeletePolicyQuery extends CommentQuery {
  /** The policy that takes the children, computers and enrollment tokens. */
  @Optional()
  @Uuid()
  reassignTo?: string;
}

export class RollbackBody {
  /** The revision whose settings and locks are restored; name and parent stay. */
  @Integer(1, REVISION_MAX)
  revision!: number;

  @Optional()
  @Text({ max: COMMENT_MAX, multiline: true })
  comment?: string;
}

export class LockBody {
  @OneOf('locked', 'tightenOnly')
  mode!: 'locked' | 'tightenOnly';
}

export class PolicyDto {
  @Uuid()
  id!: string;

  @Text({ max: NAME_MAX })
  name!: string;

  /** Null for a root, and for the policy that one's own role is bound to. */
  @UuidOrNull()
  parentId!: string | null;

  @Text({ max: DESCRIPTION_MAX, multiline: true })
  description!: string;

  @IsBoolean()
  builtIn!: boolean;

  @Integer(1, REVISION_MAX)
  revision!: number;

  /** The policy's own overrides; effective values are at /policies/:id/settings. */
  @IsObject()
  @Shown(JSON_OBJECT)
  overrides!: object;

  @IsObject()
  @Shown({ type: 'object', additionalProperties: { type: 'string', enum: ['locked', 'tightenOnly'] } })
  locks!: object;

  @Instant()
  createdAt!: string;

  @Instant()
  updatedAt!: string;
}

export class PolicyTreeDto extends PolicyDto {
  @IsArray()
  @Shown({ type: 'array', items: { $ref: '#/components/schemas/PolicyTreeDto' } })
  children!: PolicyTreeDto[];
}

export class PolicyRevisionDto {
  @Integer(1, REVISION_MAX)
  revision!: number;

  @Instant()
  changedAt!: string;

  @IsObject()
  @Shown({ type: 'object', properties: { id: { type: 'string' }, name: { type: 'string' } } })
  actor!: { id: string; name: string };

  @Text({ max: COMMENT_MAX, multiline: true })
  comment!: string;

  @Text({ max: NAME_MAX })
  name!: string;

  @UuidOrNull()
  parentId!: string | null;

  @IsObject()
  @Shown(JSON_OBJECT)
  settings!: object;

  @IsObject()
  @Shown(JSON_OBJECT)
  locks!: object;

  /** Against the revision before: `{name?, parentId?, settings, locks}`, each change `{from, to}`, null for absent. */
  @IsObject()
  @Shown(JSON_OBJECT)
  changes!: object;
}

export function toPolicyDto(policy: Policy, scope: Scope): PolicyDto {
  const { id, name, description, builtIn, revision, settings, locks } = policy;
  const parentId = scope.beginsAt(id) ? null : policy.parentId;
  const times = { createdAt: toRfc3339(policy.createdAt.getTime()), updatedAt: toRfc3339(policy.updatedAt.getTime()) };
  return { id, name, parentId, description, builtIn, revision, overrides: settings, locks, ...times };
}

export function toPolicyTreeDto(node: PolicyTreeNode, scope: Scope): PolicyTreeDto {
  return { ...toPolicyDto(node, scope), children: node.children.map((child) => toPolicyTreeDto(child, scope)) };
}

export function toPolicyRevisionDto(row: RevisionWithChanges): PolicyRevisionDto {
  const { revision, changedAt, actorId, actorName, comment, name, parentId, settings, locks, changes } = row;
  const actor = { id: actorId, name: actorName };
  return { revision, changedAt: changedAt.toISOString(), actor, comment, name, parentId, settings, locks, changes };
}
