import type { Owed } from '../access/access-rules.js';
import type { Actor, Role } from '../access/actor.js';
import type { Scope } from '../access/scope.js';
import type { FieldError } from '../../lib/problem.js';
import type { ListOrder } from './page.js';

/** A class with class-validator decorators: validation and OpenAPI are both made from it. */
export type DtoClass<T extends object = object> = new () => T;

/** `public` needs no caller; a role admits every role that includes it. */
export type Permission = 'public' | Role;

/**
 * `recent`: of a session everything that proves its user was given within a quarter of an hour; an API key is admitted,
 * since making one asks for that too. `person`: no API key, and a second factor has to be set up.
 */
export type Proof = 'recent' | 'person';

/** `scope`: the answer is made of the caller's scope alone; `everyone`: of nothing that belongs to anybody else. */
export type Reach = 'scope' | 'everyone';

export interface AdminRequest<Body = undefined, Query = undefined> {
  readonly actor: Actor;
  readonly scope: Scope;
  /** Path parameters; `:id` and other ids are checked to be UUIDs before the handler runs. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: Query;
  readonly body: Body;
  /** The revision named by `If-Match`; present when the route says `needsIfMatch`. */
  readonly ifMatch: number | undefined;
  /** The session's id when a cookie authenticated the call. */
  readonly sessionId: string | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** What is left of a value of which refused parts are taken away. */
export type Sound<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? string extends keyof T
      ? T
      : { readonly [K in keyof T]?: Sound<T[K]> }
    : T;

/** A request of which fields are refused: only what is sound is there. */
export interface RefusedRequest<Body = unknown, Query = unknown> extends Pick<AdminRequest, 'actor' | 'scope'> {
  readonly params: Readonly<Record<string, string>>;
  readonly query: Sound<Query>;
  readonly body: Sound<Body>;
  /** Whether nothing is refused of the fields; what is absent is sound. */
  readonly isSound: (...pointers: readonly string[]) => boolean;
}

type RouteCheck<Body, Query> = (
  request: RefusedRequest<Body, Query>,
) => readonly FieldError[] | Promise<readonly FieldError[]>;

/** A body whose keys a catalogue knows. */
interface FreeBody {
  readonly free: Readonly<Record<string, unknown>>;
  readonly faultsOf?: (value: unknown, pointer: string) => readonly FieldError[];
}

export interface Reply {
  readonly status?: number;
  readonly body?: unknown;
  /** Sent piece by piece instead of a body; `headers` names its type, which the route declares in `alsoAs`. */
  readonly stream?: AsyncIterable<string>;
  /** Becomes `ETag: "<revision>"`. */
  readonly revision?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface RouteDefinition {
  readonly method: 'get' | 'post' | 'patch' | 'put' | 'delete';
  /** Below /api/v1, Express style: `/policies/:id`. */
  readonly path: string;
  readonly permission: Permission;
  /** Without it the route is closed to callers whose role is bound to a policy. */
  readonly reach?: Reach;
  readonly proof?: Proof;
  /** Admitted to whoever owes one of these; nothing else is. */
  readonly whileOwing?: readonly Owed[];
  readonly summary: string;
  readonly tag: string;
  /** DTO of the body; or `free` with a JSON schema where the keys come from a catalogue. */
  readonly body?: DtoClass | FreeBody;
  readonly query?: DtoClass;
  /** What `sort` and `cursor` of the query are judged by. */
  readonly list?: ListOrder;
  readonly needsIfMatch?: boolean;
  readonly reply: {
    readonly status: number;
    readonly body?: DtoClass | { readonly free: Readonly<Record<string, unknown>> };
    /** Media types of text that callers may have instead. */
    readonly alsoAs?: readonly string[];
  };
  /**
   * What the handler refuses by what is stored or by the time of day. It is asked only where the request is refused
   * anyway, so that one answer names every bad field; the handler refuses all of it by itself.
   */
  readonly check?: RouteCheck<never, never>;
  readonly handle: (request: AdminRequest<never, never>) => Promise<Reply>;
}

type InstanceOf<C> = C extends DtoClass<infer T> ? T : undefined;
type BodyOf<B> = B extends { readonly free: unknown } ? unknown : InstanceOf<B>;

/** Declares a route with its handler typed by its DTOs. */
export function defineRoute<
  B extends DtoClass | FreeBody | undefined = undefined,
  Q extends DtoClass | undefined = undefined,
>(
  route: Omit<RouteDefinition, 'body' | 'query' | 'check' | 'handle'> & {
    readonly body?: B;
    readonly query?: Q;
    readonly check?: RouteCheck<BodyOf<B>, InstanceOf<Q>>;
    readonly handle: (request: AdminRequest<BodyOf<B>, InstanceOf<Q>>) => Promise<Reply>;
  },
): RouteDefinition {
  return route as unknown as RouteDefinition;
}
