import { ValidateBy } from 'class-validator';
import { parseRfc3339 } from '../../lib/clock.js';
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

/** An instant that a request gives: RFC 3339. `schema` adds to how it is described. */
export function GivenInstant(schema: Readonly<Record<string, unknown>> = {}): PropertyDecorator {
  const check = Checked('isInstant', instantFault);
  const show = Shown({ type: 'string', format: 'date-time', ...schema });
  return (target, member) => {
    check(target, member);
    show(target, member);
  };
}

function instantFault(value: unknown): string | undefined {
  return typeof value === 'string' && parseRfc3339(value) !== undefined
    ? undefined
    : 'must be an RFC 3339 instant, such as 2030-01-31T12:00:00Z';
}

/** What is wrong with one member of a checked value, or without a key with the whole. */
export interface MemberFault {
  readonly key?: string;
  readonly detail: string;
}

const FAULTS = Symbol('faults of the members of a member');

/** As `Checked`, but every bad member of the value is named. */
export function CheckedMembers(name: string, faultsOf: (value: unknown) => readonly MemberFault[]): PropertyDecorator {
  const check = Checked(name, (value) => faultsOf(value)[0]?.detail);
  return (target, member) => {
    check(target, member);
    Reflect.defineMetadata(FAULTS, faultsOf, target, member);
  };
}

/** The faults that `CheckedMembers` finds; undefined where the member is checked otherwise. */
export function memberFaults(
  owner: object | undefined,
  member: string,
  value: unknown,
): readonly MemberFault[] | undefined {
  if (!owner) return undefined;
  const faultsOf = Reflect.getMetadata(FAULTS, owner, member) as
    ((value: unknown) => readonly MemberFault[]) | undefined;
  return faultsOf?.(value);
}
