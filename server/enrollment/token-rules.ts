import type { FieldError } from '../../lib/problem.js';
import type { ComputerKind } from '../../policies/setting-values.js';

/** A token that names a record can be used once. */
export function usesFaults({
  computerId,
  uses,
}: {
  readonly computerId?: string | null;
  readonly uses: number;
}): readonly FieldError[] {
  if (computerId === undefined || computerId === null || uses === 1) return [];
  return [{ pointer: '#/uses', detail: 'must be 1 for a token that names a computer' }];
}

/** A token that names a record is for its kind. */
export function kindFaults(
  kind: ComputerKind | undefined,
  computer: { readonly kind: ComputerKind },
): readonly FieldError[] {
  if (kind === undefined || kind === computer.kind) return [];
  return [{ pointer: '#/kind', detail: `must be ${computer.kind}, as the named computer is` }];
}
