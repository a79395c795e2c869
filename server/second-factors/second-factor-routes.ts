import type { Scope } from '../access/scope.js';
import { ownSession } from '../admin-api/own-session.js';
import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import {
  BegunSecondFactorReply,
  ConfirmSecondFactorBody,
  RecoveryCodesReply,
  SecondFactorReply,
} from './second-factor-dto.js';
import type { SecondFactorStatus } from './second-factor-repository.js';
import type { SecondFactorService } from './second-factor-service.js';

export interface SecondFactorRouteDeps {
  readonly secondFactors: SecondFactorService;
  /** Throws `user-not-found`. */
  readonly assertVisible: (scope: Scope, userId: string) => Promise<unknown>;
}

const OWN = {
  tag: 'users',
  path: '/users/current/second-factor',
  permission: 'auditor',
  reach: 'everyone',
  whileOwing: ['second-factor'],
} as const;

export function secondFactorRoutes(deps: SecondFactorRouteDeps): readonly RouteDefinition[] {
  return [...beginningRoutes(deps), ...laterRoutes(deps)];
}

function beginningRoutes({ secondFactors }: SecondFactorRouteDeps): readonly RouteDefinition[] {
  return [
    defineRoute({
      ...OWN,
      method: 'get',
      summary: 'Whether one has a second factor, and how many recovery codes are left',
      reply: { status: 200, body: SecondFactorReply },
      handle: async (request) => ({ body: toReply(await secondFactors.status(ownSession(request).actor.id)) }),
    }),
    defineRoute({
      ...OWN,
      method: 'post',
      proof: 'recent',
      summary: 'Begin a second factor (TOTP, RFC 6238); it counts once it is confirmed by a code',
      reply: { status: 201, body: BegunSecondFactorReply },
      handle: async (request) => ({ body: await secondFactors.begin(ownSession(request).actor) }),
    }),
    defineRoute({
      ...OWN,
      method: 'post',
      path: '/users/current/second-factor/confirm',
      summary: "Confirm it by a code; ends one's other sessions and shows ten recovery codes, this once",
      body: ConfirmSecondFactorBody,
      reply: { status: 200, body: RecoveryCodesReply },
      async handle(request) {
        const { actor, sessionId } = ownSession(request);
        return { body: { recoveryCodes: await secondFactors.confirm(actor, sessionId, request.body.code) } };
      },
    }),
  ];
}

function laterRoutes({ secondFactors, assertVisible }: SecondFactorRouteDeps): readonly RouteDefinition[] {
  return [
    defineRoute({
      ...OWN,
      method: 'post',
      path: '/users/current/second-factor/recovery-codes',
      proof: 'recent',
      summary: 'Ten new recovery codes in the place of all others, shown this once',
      reply: { status: 201, body: RecoveryCodesReply },
      handle: async (request) => ({
        body: { recoveryCodes: await secondFactors.renewRecoveryCodes(ownSession(request).actor) },
      }),
    }),
    defineRoute({
      ...OWN,
      method: 'delete',
      proof: 'recent',
      summary: "Remove one's second factor; ends one's other sessions",
      reply: { status: 204 },
      async handle(request) {
        const { actor, sessionId } = ownSession(request);
        await secondFactors.remove(actor, actor.id, sessionId);
        return {};
      },
    }),
    defineRoute({
      method: 'delete',
      path: '/users/:id/second-factor',
      permission: 'administrator',
      reach: 'scope',
      proof: 'recent',
      tag: 'users',
      summary: "Remove a user's second factor, whose device is lost; ends that user's sessions",
      reply: { status: 204 },
      async handle({ actor, scope, params }) {
        const id = params['id'] ?? '';
        await assertVisible(scope, id);
        await secondFactors.remove(actor, id);
        return {};
      },
    }),
  ];
}

function toReply(status: SecondFactorStatus | undefined): SecondFactorReply {
  if (!status) return { state: 'none', confirmedAt: null, recoveryCodesLeft: 0 };
  const { confirmedAt, recoveryCodesLeft } = status;
  return {
    state: confirmedAt ? 'on' : 'begun',
    confirmedAt: confirmedAt?.toISOString() ?? null,
    recoveryCodesLeft,
  };
}
