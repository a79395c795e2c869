import { ROLE_MEANINGS } from '../access/permissions.js';
import { assertOneClassPerName, reachableFrom, refTo, schemasOfDtos, type JsonSchema } from './dto-schemas.js';
import type { RouteDefinition } from './route.js';

/** A document of OpenAPI 3.1. */
export type OpenApiDocument = Readonly<Record<string, unknown>>;

export interface OpenApiOptions {
  readonly routes: readonly RouteDefinition[];
  readonly version: string;
  /** `__Host-wardbeat` over TLS, `wardbeat` without. */
  readonly cookieName: string;
}

type BodyOf = NonNullable<RouteDefinition['body']>;

const PREFIX = '/api/v1';

const PROBLEM_SCHEMA: JsonSchema = {
  type: 'object',
  required: ['type', 'title', 'status', 'detail', 'instance'],
  properties: {
    type: { type: 'string', description: '/problems/<code>: what clients switch on' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string', description: 'what is wrong and how to mend it' },
    instance: { type: 'string', description: 'the id of the request, in the log too' },
    errors: {
      type: 'array',
      items: {
        type: 'object',
        required: ['pointer', 'detail'],
        properties: { pointer: { type: 'string' }, detail: { type: 'string' } },
      },
    },
  },
};

const PROBLEM_RESPONSE = {
  description: 'A problem document (RFC 9457).',
  content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
};

/** Builds the document from the declared routes and their DTOs; the same routes give the same bytes. */
export function openApiDocument({ routes, version, cookieName }: OpenApiOptions): OpenApiDocument {
  const dtos = schemasOfDtos();
  const paths = pathsOf(routes, dtos);
  const used = [...reachableFrom(paths, { ...dtos, Problem: PROBLEM_SCHEMA })].toSorted();
  assertOneClassPerName(new Set([...used, ...routes.flatMap(({ query }) => query?.name ?? [])]));
  const schemas = Object.fromEntries(used.map((name) => [name, name === 'Problem' ? PROBLEM_SCHEMA : dtos[name]]));
  const roles = Object.entries(ROLE_MEANINGS).map(([role, meaning]) => `\`${role}\` ${meaning}`);
  return {
    openapi: '3.1.0',
    info: { title: 'Wardbeat', version, description: `Each role includes the ones before it: ${roles.join('; ')}.` },
    servers: [{ url: '/' }],
    tags: [...new Set(routes.map(({ tag }) => tag))].toSorted().map((name) => ({ name })),
    paths,
    components: {
      schemas,
      securitySchemes: {
        session: {
          type: 'apiKey',
          in: 'cookie',
          name: cookieName,
          description: 'From POST /api/v1/sessions; calls that change something also send X-CSRF-Token.',
        },
        apiKey: { type: 'http', scheme: 'bearer', description: 'From POST /api/v1/api-keys: wbk_…' },
      },
    },
  };
}

type Schemas = Readonly<Record<string, JsonSchema>>;

function pathsOf(routes: readonly RouteDefinition[], dtos: Schemas): Readonly<Record<string, unknown>> {
  const paths: Record<string, Record<string, unknown>> = {};
  const ordered = routes.toSorted((a, b) => (`${a.path} ${a.method}` < `${b.path} ${b.method}` ? -1 : 1));
  for (const route of ordered) {
    const path = `${PREFIX}${route.path.replaceAll(/:([A-Za-z]+)/g, '{$1}')}`;
    paths[path] = { ...paths[path], [route.method]: operationOf(route, dtos) };
  }
  return paths;
}

function operationOf(route: RouteDefinition, dtos: Schemas): JsonSchema {
  const parameters = [...pathParameters(route), ...queryParameters(route, dtos), ...headerParameters(route)];
  return {
    operationId: operationId(route),
    summary: route.summary,
    tags: [route.tag],
    'x-permission': route.permission,
    'x-reach': reachOf(route),
    ...(route.proof ? { 'x-proof': route.proof } : {}),
    security: route.permission === 'public' ? [] : [{ session: [] }, { apiKey: [] }],
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(route.body ? { requestBody: requestBodyOf(route, route.body) } : {}),
    responses: { [route.reply.status]: replyOf(route), '4XX': PROBLEM_RESPONSE, '5XX': PROBLEM_RESPONSE },
  };
}

/** `manager`: closed to callers whose role is bound to a policy. */
function reachOf({ permission, reach }: RouteDefinition): string {
  return permission === 'public' ? 'everyone' : (reach ?? 'manager');
}

function operationId({ method, path }: RouteDefinition): string {
  const words = path.split(/[^A-Za-z0-9:]+/).filter((word) => word !== '');
  return method + words.map((word) => (word.startsWith(':') ? `By${capital(word.slice(1))}` : capital(word))).join('');
}

function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}

function pathParameters({ path }: RouteDefinition): JsonSchema[] {
  return [...path.matchAll(/:([A-Za-z]+)/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    schema: name === 'id' || name.endsWith('Id') ? { type: 'string', format: 'uuid' } : { type: 'string' },
  }));
}

function queryParameters({ query }: RouteDefinition, dtos: Schemas): JsonSchema[] {
  if (!query) return [];
  const schema = dtos[query.name] as { properties?: Record<string, JsonSchema>; required?: string[] } | undefined;
  // A query class without members of its own has its schema under the class above it.
  if (!schema) return queryParameters({ query: Object.getPrototypeOf(query) } as RouteDefinition, dtos);
  const { properties = {}, required = [] } = schema;
  return Object.keys(properties)
    .toSorted()
    .map((name) => ({ name, in: 'query', required: required.includes(name), schema: properties[name] }));
}

function headerParameters({ needsIfMatch }: RouteDefinition): JsonSchema[] {
  if (!needsIfMatch) return [];
  const description = 'the ETag of the GET; 412 when it was changed since';
  return [{ name: 'If-Match', in: 'header', required: true, schema: { type: 'string' }, description }];
}

function requestBodyOf({ method }: RouteDefinition, body: BodyOf): JsonSchema {
  const schema = schemaOf(body);
  const merge = method === 'patch' ? { 'application/merge-patch+json': { schema } } : {};
  return { required: true, content: { 'application/json': { schema }, ...merge } };
}

function replyOf({ reply }: RouteDefinition): JsonSchema {
  if (!reply.body) return { description: 'Done.' };
  const others = (reply.alsoAs ?? []).map((type) => [type, { schema: { type: 'string' } }] as const);
  const content = { 'application/json': { schema: schemaOf(reply.body) }, ...Object.fromEntries(others) };
  return { description: 'Done.', content };
}

function schemaOf(body: BodyOf): JsonSchema {
  return typeof body === 'function' ? refTo(body) : body.free;
}
