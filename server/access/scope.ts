import { Problem } from '../../lib/problem.js';

/** A forest as far as it takes to know what stands below what. */
type Parents = ReadonlyMap<string, { readonly parentId: string | null }>;

/**
 * Which part of the policy forest a caller may see and change. Every repository read and write that serves the admin
 * API takes one, by type.
 */
export class Scope {
  static readonly all = new Scope(null);

  readonly #roots: readonly string[] | null;

  private constructor(roots: readonly string[] | null) {
    this.#roots = roots;
  }

  static subtrees(policyIds: readonly string[]): Scope {
    return new Scope(policyIds);
  }

  /** Of a role that is bound to a policy and all below it; null: to the whole forest. */
  static of(policyId: string | null): Scope {
    return policyId === null ? Scope.all : Scope.subtrees([policyId]);
  }

  /** The whole forest, and what belongs to no policy. */
  get isAll(): boolean {
    return this.#roots === null;
  }

  /** Whether the scope begins at this policy: what is above it, its own parent first, is not seen. */
  beginsAt(policyId: string): boolean {
    return this.#roots?.includes(policyId) ?? false;
  }

  /** Whether it holds a policy of a forest that is known already; null asks for what belongs to no policy. */
  holds(policies: Parents, policyId: string | null): boolean {
    if (this.#roots === null) return true;
    const seen = new Set<string>();
    for (let id = policyId; id !== null && !seen.has(id); id = policies.get(id)?.parentId ?? null) {
      if (this.#roots.includes(id)) return policies.has(policyId ?? '');
      seen.add(id);
    }
    return false;
  }

  /**
   * The policy that something new is bound to, as the caller asked: a policy, null for the whole forest, nothing for the
   * caller's own scope. Throws `beyond-scope`; whether a policy that is named lies in the scope is not judged.
   */
  bindingFor(asked: string | null | undefined): string | null {
    const wanted = asked === undefined ? (this.#roots?.[0] ?? null) : asked;
    if (wanted === null) this.assertAll('Only whoever is bound to no policy may bind to none.');
    return wanted;
  }

  /** Throws `beyond-scope` unless it is the whole forest. */
  assertAll(detail?: string): void {
    if (!this.isAll) throw new Problem('beyond-scope', detail === undefined ? {} : { detail });
  }

  /**
   * An SQL condition over a policy id column, with its parameters numbered from `first`. `TRUE` for the whole forest.
   */
  predicate(column: string, first: number): { readonly sql: string; readonly parameters: readonly unknown[] } {
    if (this.#roots === null) return { sql: 'TRUE', parameters: [] };
    const subtree = `WITH RECURSIVE subtree AS (
      SELECT policies.id FROM policies WHERE policies.id = ANY($${first}::uuid[])
      UNION SELECT child.id FROM policies child JOIN subtree ON child.parent_id = subtree.id
    ) SELECT subtree.id FROM subtree`;
    return { sql: `${column} IN (${subtree})`, parameters: [this.#roots] };
  }
}
