import type { Scope } from './scope.js';

/** Conditions of a statement and their parameters, numbered as they are added. */
export class Conditions {
  readonly parameters: unknown[] = [];
  readonly #conditions: string[] = [];

  get next(): number {
    return this.parameters.length + 1;
  }

  add(condition: string, ...parameters: readonly unknown[]): void {
    this.#conditions.push(condition);
    this.parameters.push(...parameters);
  }

  /** `column` is of a policy id: it lies in the scope. */
  addScope(column: string, scope: Scope): void {
    const { sql, parameters } = scope.predicate(column, this.next);
    this.add(sql, ...parameters);
  }

  /**
   * `column` is of a policy id: it is the one that the caller asked for, or stands below it. Below a policy that the scope does
   * not hold there is nothing, though it may stand above the scope.
   */
  addSubtree(column: string, { scope, policyId }: { readonly scope: Scope; readonly policyId: string }): void {
    const asked = this.next;
    this.add(subtreeCondition(column, asked), policyId);
    if (!scope.isAll) this.addScope(`$${asked}::uuid`, scope);
  }

  toSql(): string {
    return this.#conditions.join(' AND ') || 'TRUE';
  }
}

/** An array, so that it is evaluated once and an index of policies serves. */
function subtreeCondition(column: string, parameter: number): string {
  return `${column} = ANY(ARRAY(
    WITH RECURSIVE below AS (
      SELECT policies.id FROM policies WHERE policies.id = $${parameter}::uuid
      UNION SELECT child.id FROM policies child JOIN below ON child.parent_id = below.id
    ) SELECT below.id FROM below))`;
}
