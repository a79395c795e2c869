/** What a session or API key may do; each role includes the ones before it. */
export const ROLES = ['auditor', 'operator', 'administrator'] as const;
export type Role = (typeof ROLES)[number];

export function roleIncludes(held: Role, needed: Role): boolean {
  return ROLES.indexOf(held) >= ROLES.indexOf(needed);
}

/** Who acts: a user by session, an API key, the manager itself, or nobody known (on public routes only). */
export interface Actor {
  readonly kind: 'user' | 'api-key' | 'manager' | 'anonymous';
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  readonly sourceAddress: string | null;
}

export const MANAGER_ACTOR: Actor = {
  kind: 'manager',
  id: 'manager',
  name: 'manager',
  role: 'administrator',
  sourceAddress: null,
};

/** The caller of a public route. */
export function anonymousActor(sourceAddress: string | null): Actor {
  return { kind: 'anonymous', id: 'anonymous', name: 'anonymous', role: 'auditor', sourceAddress };
}
