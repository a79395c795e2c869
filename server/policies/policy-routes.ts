import type { FieldError } from '../../lib/problem.js';
import { lockFaults } from '../../policies/override-rules.js';
import { describeCatalogue, isSettingKey } from '../../policies/settings-catalogue.js';
import { mapPage, PageQuery, PlainPageQuery } from '../admin-api/page.js';
import { pageSchemaOf } from '../admin-api/dto-schemas.js';
import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import type { Sql } from '../database/sql.js';
import { policyFaults } from './policy-references.js';
import {
  ChangePolicyBody,
  CommentQuery,
  CreatePolicyBody,
  DeletePolicyQuery,
  LockBody,
  PolicyDto,
  PolicyRevisionDto,
  PolicyTreeDto,
  RollbackBody,
  toPolicyDto,
  toPolicyRevisionDto,
  toPolicyTreeDto,
} from './policy-dto.js';
import type { PolicyService } from './policy-service.js';
import type { PolicySettingsService, SettingsView } from './policy-settings-service.js';
import { CATALOGUE_SCHEMA, SETTINGS_PATCH_SCHEMA, SETTINGS_VIEW_SCHEMA } from './settings-schema.js';
import { POLICY_ORDER, REVISION_ORDER } from './policy-repository.js';

const tag = 'policies';

export interface PolicyRoutesDeps {
  /** Reads outside a transaction. */
  readonly sql: Sql;
  readonly policies: PolicyService;
  readonly settings: PolicySettingsService;
}

export function policyRoutes(deps: PolicyRoutesDeps): RouteDefinition[] {
  return [
    ...readingRoutes(deps),
    ...editingRoutes(deps),
    ...rollbackRoutes(deps),
    ...settingsRoutes(deps),
    ...lockRoutes(deps),
  ];
}

function readingRoutes({ policies }: PolicyRoutesDeps): RouteDefinition[] {
  return [
    defineRoute({
      method: 'get',
      path: '/policies',
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary: 'List policies',
      query: PageQuery,
      list: POLICY_ORDER,
      reply: { status: 200, body: pageSchemaOf(PolicyDto) },
      handle: async ({ scope, query }) => ({
        body: mapPage(await policies.list(scope, query), (one) => toPolicyDto(one, scope)),
      }),
    }),
    defineRoute({
      method: 'get',
      path: '/policies/tree',
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary: 'Policies with their children',
      reply: { status: 200, body: pageSchemaOf(PolicyTreeDto) },
      handle: async ({ scope }) => ({
        body: { items: (await policies.tree(scope)).map((node) => toPolicyTreeDto(node, scope)), next: null },
      }),
    }),
    defineRoute({
      method: 'get',
      path: '/policies/:id',
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary: 'Read a policy',
      reply: { status: 200, body: PolicyDto },
      async handle({ scope, params }) {
        const policy = await policies.get(scope, params['id'] ?? '');
        return { body: toPolicyDto(policy, scope), revision: policy.revision };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/policies/:id/revisions',
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary: 'List its revisions',
      query: PlainPageQuery,
      list: REVISION_ORDER,
      reply: { status: 200, body: pageSchemaOf(PolicyRevisionDto) },
      handle: async ({ scope, params, query }) => ({
        body: mapPage(await policies.listRevisions(scope, params['id'] ?? '', query), toPolicyRevisionDto),
      }),
    }),
  ];
}

function editingRoutes({ policies, sql }: PolicyRoutesDeps): RouteDefinition[] {
  return [
    defineRoute({
      method: 'post',
      path: '/policies',
      permission: 'operator',
      reach: 'scope',
      tag,
      summary: 'Create a policy',
      body: CreatePolicyBody,
      reply: { status: 201, body: PolicyDto },
      check: ({ scope, body: { parentId } }) => policyFaults(sql, scope, { parentId }),
      async handle({ actor, scope, body }) {
        const { name, parentId, description = '', settings, comment = '' } = body;
        const policy = await policies.create({ actor, scope }, { name, parentId, description, settings, comment });
        return { status: 201, body: toPolicyDto(policy, scope), revision: policy.revision };
      },
    }),
    defineRoute({
      method: 'patch',
      path: '/policies/:id',
      permission: 'operator',
      reach: 'scope',
      tag,
      summary: 'Rename or move a policy',
      body: ChangePolicyBody,
      needsIfMatch: true,
      reply: { status: 200, body: PolicyDto },
      check: ({ scope, body: { parentId } }) => policyFaults(sql, scope, { parentId }),
      async handle({ actor, scope, params, body: changes, ifMatch }) {
        const policy = await policies.edit({ actor, scope }, params['id'] ?? '', { changes, ifMatch });
        return { body: toPolicyDto(policy, scope), revision: policy.revision };
      },
    }),
    defineRoute({
      method: 'delete',
      path: '/policies/:id',
      permission: 'operator',
      reach: 'scope',
      tag,
      summary: 'Delete a policy',
      query: DeletePolicyQuery,
      reply: { status: 204 },
      check: ({ scope, query: { reassignTo } }) => policyFaults(sql, scope, { reassignTo }),
      async handle({ actor, scope, params, query, ifMatch }) {
        const { reassignTo, comment = '' } = query;
        await policies.remove({ actor, scope }, params['id'] ?? '', { reassignTo, comment, ifMatch });
        return { status: 204 };
      },
    }),
  ];
}

function rollbackRoutes({ policies }: PolicyRoutesDeps): RouteDefinition[] {
  return [
    defineRoute({
      method: 'post',
      path: '/policies/:id/rollback',
      permission: 'operator',
      reach: 'scope',
      tag,
      summary: 'Restore the settings and locks of an earlier revision',
      body: RollbackBody,
      needsIfMatch: true,
      reply: { status: 200, body: PolicyDto },
      async handle({ actor, scope, params, body: { revision, comment }, ifMatch }) {
        const rollback = { revision, comment, ifMatch };
        const policy = await policies.rollback({ actor, scope }, params['id'] ?? '', rollback);
        return { body: toPolicyDto(policy, scope), revision: policy.revision };
      },
    }),
  ];
}

function settingsRoutes({ settings }: PolicyRoutesDeps): RouteDefinition[] {
  return [
    defineRoute({
      method: 'get',
      path: '/policies/:id/settings',
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary: 'Effective settings',
      reply: { status: 200, body: SETTINGS_VIEW_SCHEMA },
      handle: async ({ scope, params }) => replyWith(await settings.get(scope, params['id'] ?? '')),
    }),
    defineRoute({
      method: 'patch',
      path: '/policies/:id/settings',
      permission: 'operator',
      reach: 'scope',
      tag,
      summary: 'Change overrides',
      body: SETTINGS_PATCH_SCHEMA,
      query: CommentQuery,
      needsIfMatch: true,
      reply: { status: 200, body: SETTINGS_VIEW_SCHEMA },
      check: ({ scope, params: { id }, body }) => (id === undefined ? [] : settings.editFaults(scope, id, body)),
      async handle({ actor, scope, params, body: patch, query: { comment = '' }, ifMatch }) {
        return replyWith(await settings.edit({ actor, scope }, params['id'] ?? '', { patch, comment, ifMatch }));
      },
    }),
    defineRoute({
      method: 'get',
      path: '/settings-catalogue',
      permission: 'auditor',
      reach: 'everyone',
      tag,
      summary: 'Every setting there is',
      reply: { status: 200, body: CATALOGUE_SCHEMA },
      handle: async () => ({ body: { items: describeCatalogue(), next: null } }),
    }),
  ];
}

function lockRoutes({ settings }: PolicyRoutesDeps): RouteDefinition[] {
  const path = '/policies/:id/locks/:key';
  return [
    defineRoute({
      method: 'put',
      path,
      permission: 'operator',
      reach: 'scope',
      tag,
      summary: 'Lock a setting for what is below',
      body: LockBody,
      query: CommentQuery,
      needsIfMatch: true,
      reply: { status: 200, body: SETTINGS_VIEW_SCHEMA },
      check: ({ params: { key = '' }, body: { mode } }) =>
        mode !== undefined && isSettingKey(key) ? lockFaults(key, mode) : keyFaults(key),
      async handle({ actor, scope, params, body: { mode }, query: { comment = '' }, ifMatch }) {
        const edit = { key: params['key'] ?? '', mode, comment, ifMatch };
        return replyWith(await settings.lock({ actor, scope }, params['id'] ?? '', edit));
      },
    }),
    defineRoute({
      method: 'delete',
      path,
      permission: 'operator',
      reach: 'scope',
      tag,
      summary: "Take the policy's own lock away",
      query: CommentQuery,
      needsIfMatch: true,
      check: ({ params: { key = '' } }) => keyFaults(key),
      reply: { status: 200, body: SETTINGS_VIEW_SCHEMA },
      async handle({ actor, scope, params, query: { comment = '' }, ifMatch }) {
        const edit = { key: params['key'] ?? '', mode: null, comment, ifMatch };
        return replyWith(await settings.lock({ actor, scope }, params['id'] ?? '', edit));
      },
    }),
  ];
}

function keyFaults(key: string): readonly FieldError[] {
  return isSettingKey(key) ? [] : [{ pointer: '#/key', detail: 'is not a known setting' }];
}

function replyWith(view: SettingsView) {
  return { body: view, revision: view.revision };
}
