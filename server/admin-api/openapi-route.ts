import { assertEveryRouteDeclaresPermission } from '../access/permissions.js';
import { openApiDocument, type OpenApiDocument } from './openapi.js';
import { defineRoute, type RouteDefinition } from './route.js';
import { createSessionCookie } from './session-cookie.js';

export interface DescriptionOptions {
  readonly routes: readonly RouteDefinition[];
  readonly version: string;
  /** TLS is spoken: the cookie has another name. */
  readonly secure: boolean;
}

/** The given routes and the one that describes them all. Throws when one declares no permission. */
export function withDescription({ routes, version, secure }: DescriptionOptions): readonly RouteDefinition[] {
  let document: OpenApiDocument | undefined;
  const describe = defineRoute({
    method: 'get',
    path: '/openapi.json',
    permission: 'public',
    summary: 'The OpenAPI 3.1 document of this API',
    tag: 'system',
    reply: { status: 200, body: { free: { type: 'object', additionalProperties: true } } },
    handle: async () => {
      document ??= openApiDocument({ routes: all, version, cookieName: createSessionCookie({ secure }).name });
      return { body: document };
    },
  });
  const all = [...routes, describe];
  assertEveryRouteDeclaresPermission(all);
  return all;
}
