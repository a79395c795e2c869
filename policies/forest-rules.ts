import { Problem } from '../lib/problem.js';

/** The most policies from a root to a leaf, both counted. */
export const MAX_POLICY_DEPTH = 32;

/** Every policy's id with its parent's, null for a root. */
export type ParentMap = ReadonlyMap<string, string | null>;

/** A new policy (an id that the map does not hold) or a move of a stored one. */
export interface ProposedMove {
  readonly id: string;
  readonly parentId: string | null;
}

/** Throws `policy-not-found`, `policy-cycle` or `policy-too-deep`. Linear in the number of policies. */
export function assertMove(parents: ParentMap, move: ProposedMove): void {
  if (move.parentId !== null && move.parentId !== move.id && !parents.has(move.parentId))
    throw new Problem('policy-not-found', { detail: 'The parent policy does not exist.' });
  assertAcyclic(parents, move);
  assertDepth(parents, move);
}

/** Throws `policy-cycle` where the new parent is the policy itself or below it. */
export function assertAcyclic(parents: ParentMap, { id, parentId }: ProposedMove): void {
  if (ancestorsOf(parents, parentId).includes(id))
    throw new Problem('policy-cycle', { detail: 'The new parent is the policy itself or one of its descendants.' });
}

/** Throws `policy-too-deep` where the policy's deepest descendant would stand below level 32. */
export function assertDepth(parents: ParentMap, { id, parentId }: ProposedMove): void {
  const above = ancestorsOf(parents, parentId).length;
  const below = levelsOf(childrenOf(parents), id).length;
  if (above + below > MAX_POLICY_DEPTH)
    throw new Problem('policy-too-deep', {
      detail: `The tree would be ${above + below} policies deep; at most ${MAX_POLICY_DEPTH} are allowed.`,
    });
}

/** The policy and all its descendants. */
export function subtreeOf(parents: ParentMap, id: string): ReadonlySet<string> {
  return new Set(levelsOf(childrenOf(parents), id).flat());
}

/** `id` and its ancestors, nearest first; throws `policy-cycle` where the stored map itself has one. */
export function ancestorsOf(parents: ParentMap, id: string | null): readonly string[] {
  const ancestors: string[] = [];
  for (let above = id; above !== null; above = parents.get(above) ?? null) {
    ancestors.push(above);
    if (ancestors.length > parents.size + 1) throw new Problem('policy-cycle');
  }
  return ancestors;
}

function childrenOf(parents: ParentMap): ReadonlyMap<string, readonly string[]> {
  const children = new Map<string, string[]>();
  for (const [id, parentId] of parents) {
    if (parentId === null) continue;
    const siblings = children.get(parentId);
    if (siblings) siblings.push(id);
    else children.set(parentId, [id]);
  }
  return children;
}

function levelsOf(children: ReadonlyMap<string, readonly string[]>, id: string): string[][] {
  const levels: string[][] = [];
  const seen = new Set([id]);
  for (let level = [id]; level.length > 0; level = level.flatMap((member) => unseen(children.get(member), seen)))
    levels.push(level);
  return levels;
}

function unseen(ids: readonly string[] | undefined, seen: Set<string>): string[] {
  const fresh = (ids ?? []).filter((id) => !seen.has(id));
  for (const id of fresh) seen.add(id);
  return fresh;
}
