import { ValidateBy } from 'class-validator';
import { parseRfc3339 } from '../../lib/clock.js';
import type { FieldError } from '../../lib/problem.js';
import { escapePointer } from '../../lib/schema.js';
import { Schema } from './dto.js';

/** Describes a member of an answer whose schema no validator tells, such as one that may be null. */
export function Shown(schema: Readonly<Record<string, unknown>>): PropertyDecorator {
  return Schema(schema);
}

/** An instant of an answer: RFC 3339 in UTC. */
export function Instant(): PropertyDecorator {
  return Shown({ type: 'string', format: 'date-time' });
}

/** A validator made from a function that says what is wrong, undefined for nothing. */
export function Checked(name: string, faultOf: (value: unknown) => string | undefined): PropertyDecorator {
  const validate = ValidateBy({
    name,
    validator: {
      validate: (value: unknown) => faultOf(value) === undefined,
      defaultMessage: (context) => faultOf(context?.value) ?? 'is not accepted',
    },
  });
  return (target, member) => void validate(target, String(member));
}

/** True or false, nothing that only reads so. */
export function Flag(): PropertyDecorator {
  const check = Checked('isFlag', (value) => (typeof value === 'boolean' ? undefined : 'must be true or false'));
  return (target, member) => {
    check(target, member);
    Shown({ type: 'boolean' })(target, member);
  };
}

/** An instant that a request gives: RFC 3339. `schema` adds to how it is described. */
export function GivenInstant(schema: Readonly<Record<string, unknown>> = {}): PropertyDecorator {
  const check = Checked('isInstant', instantFault);
  const show = Shown({ type: 'string', format: 'date-time', ...schema });
  return (target, member) => {
    check(target, member);
    show(target, member);
  };
}

export function instantFault(value: unknown): string | undefined {
  return typeof value === 'string' && parseRfc3339(value) !== undefined
    ? undefined
    : 'must be an RFC 3339 instant, such as 2030-01-31T12:00:00Z';
}

/** What is wrong with one member of a checked value, or without a key with the whole. */
export interface MemberFault {
  readonly key?: string;
  readonly detail: string;
}

const FAULTS = Symbol('faults of the parts of a member');

type PartFaults = (value: unknown, pointer: string) => readonly FieldError[];

/** As `Checked`, but every bad part of the value is named, however deep it lies below `pointer`. */
export function CheckedParts(name: string, faultsOf: PartFaults): PropertyDecorator {
  const check = Checked(name, (value) => faultsOf(value, '#')[0]?.detail);
  return (target, member) => {
    check(target, member);
    Reflect.defineMetadata(FAULTS, faultsOf, target, member);
  };
}

/** As `Checked`, but every bad member of the value is named. */
export function CheckedMembers(name: string, faultsOf: (value: unknown) => readonly MemberFault[]): PropertyDecorator {
  return CheckedParts(name, (value, pointer) =>
    faultsOf(value).map(({ key, detail }) => ({
      pointer: key === undefined ? pointer : `${pointer}/${escapePointer(key)}`,
      detail,
    })),
  );
}

export interface ListRules {
  readonly min: number;
  readonly max: number;
  /** What the list must be: `must be a list of …`. */
  readonly says: string;
  readonly faultOf: (member: unknown) => string | undefined;
}

/** A list of which every bad member is named. */
export function CheckedList(name: string, { min, max, says, faultOf }: ListRules): PropertyDecorator {
  return CheckedParts(name, (value, pointer) => {
    if (!Array.isArray(value) || value.length < min || value.length > max) return [{ pointer, detail: says }];
    return value.flatMap((member, index) => {
      const detail = faultOf(member);
      return detail === undefined ? [] : [{ pointer: `${pointer}/${index}`, detail }];
    });
  });
}

export interface CheckedMember {
  readonly owner: object | undefined;
  readonly property: string;
  readonly value: unknown;
  readonly pointer: string;
}

/** The faults that `CheckedParts` finds; undefined where the member is checked otherwise. */
export function memberFaults({ owner, property, value, pointer }: CheckedMember): readonly FieldError[] | undefined {
  if (!owner) return undefined;
  const faultsOf = Reflect.getMetadata(FAULTS, owner, property) as PartFaults | undefined;
  return faultsOf?.(value, pointer);
}
