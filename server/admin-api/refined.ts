import { isSound } from '../../lib/schema.js';
import type { FieldError } from '../../lib/problem.js';

/** What is wrong with an object of the class; `pointer` is where it stands in the request. */
export type FaultsOf<T> = (value: T, pointer: string) => readonly FieldError[];

interface Refinement {
  readonly members: readonly string[];
  readonly faultsOf: FaultsOf<never>;
}

const REFINEMENTS = Symbol('what members of a DTO must be together');

/**
 * What these members of a DTO must be together. It is judged whatever is wrong with the others, and not at all where one
 * of these is refused itself: nothing follows from a value that is none. An absent member is sound.
 */
export function Refined<T extends object>(
  members: readonly (keyof T & string)[],
  faultsOf: FaultsOf<T>,
): (target: new () => T) => void {
  return (target) => {
    const refinement: Refinement = { members, faultsOf: faultsOf as FaultsOf<never> };
    Reflect.defineMetadata(REFINEMENTS, [...refinementsOf(target), refinement], target);
  };
}

function refinementsOf(target: object): readonly Refinement[] {
  return (Reflect.getMetadata(REFINEMENTS, target) ?? []) as readonly Refinement[];
}

/** What `Refined` finds in an instance and in those that it is made of, beside the errors that are known. */
export function refinedFaults(value: unknown, pointer: string, known: readonly FieldError[]): readonly FieldError[] {
  if (!isInstance(value)) return [];
  const own = refinementsOf(value.constructor).flatMap(({ members, faultsOf }) =>
    members.every((member) => isSound(known, `${pointer}/${member}`)) ? faultsOf(value as never, pointer) : [],
  );
  const below = Object.entries(value).flatMap(([member, part]) => refinedFaults(part, `${pointer}/${member}`, known));
  return [...own, ...below];
}

function isInstance(value: unknown): value is object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype !== null && prototype !== Object.prototype;
}
