/**
 * Which part of the policy forest a caller may see and change. Every repository read and write that serves the admin
 * API takes one, by type; `Scope.all` until roles are bound to subtrees.
 */
export class Scope {
  static readonly all = new Scope(null);

  private constructor(private readonly roots: readonly string[] | null) {}

  static subtrees(policyIds: readonly string[]): Scope {
    return new Scope(policyIds);
  }

  /**
   * An SQL condition over a policy id column, with its parameters numbered from `first`. `TRUE` for the whole forest.
   */
  predicate(column: string, first: number): { readonly sql: string; readonly parameters: readonly unknown[] } {
    if (this.roots === null) return { sql: 'TRUE', parameters: [] };
    const subtree = `WITH RECURSIVE subtree AS (
      SELECT policies.id FROM policies WHERE policies.id = ANY($${first}::uuid[])
      UNION SELECT child.id FROM policies child JOIN subtree ON child.parent_id = subtree.id
    ) SELECT subtree.id FROM subtree`;
    return { sql: `${column} IN (${subtree})`, parameters: [this.roots] };
  }
}
