import { Allow, ValidateBy } from 'class-validator';
import { Schema } from './dto.js';

/** Describes a member of an answer whose schema no validator tells, such as one that may be null. */
export function Shown(schema: Readonly<Record<string, unknown>>): PropertyDecorator {
  const allow = Allow();
  const describe = Schema(schema);
  return (target, member) => {
    allow(target, String(member));
    describe(target, member);
  };
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
