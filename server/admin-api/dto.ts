import 'reflect-metadata';
import { Type } from 'class-transformer';
import { Allow, IsIn, IsInt, Max, Min, ValidateBy, ValidateIf } from 'class-validator';
import { JSONSchema } from 'class-validator-jsonschema';
import { isBlank, lengthInCodePoints, nameFault } from '../../lib/shown-name.js';

/** Every DTO file imports its decorators from here, so that `reflect-metadata` is loaded before the first of them. */

export interface TextLimits {
  readonly min?: number;
  readonly max: number;
  /** Several lines and tabs are welcome; without it every control character is refused. */
  readonly multiline?: boolean;
  /** It must say something: blanks and what cannot be seen do not. */
  readonly seen?: boolean;
}

const SCHEMA = Symbol('JSON schema of a member');

// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
// eslint-disable-next-line no-control-regex
const CONTROL_BUT_LINES = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/;

/** A well-formed string without control characters, bounded in code points. */
export function Text({ min = 0, max, multiline = false, seen = false }: TextLimits): PropertyDecorator {
  const faultOf = (value: unknown) =>
    textFault(value, { min, max, multiline }) ??
    (seen && isBlank(String(value)) ? 'must hold something that can be seen' : undefined);
  return TextWithout(faultOf, { min, max });
}

/** What people call something: a text of one line in which every character can be seen. */
export function Name({ max }: { readonly max: number }): PropertyDecorator {
  const limits = { min: 1, max, multiline: false };
  return TextWithout((value) => textFault(value, limits) ?? nameFault(String(value)), limits);
}

function TextWithout(
  faultOf: (value: unknown) => string | undefined,
  { min, max }: { readonly min: number; readonly max: number },
) {
  return joined(
    ValidateBy({
      name: 'isText',
      validator: {
        validate: (value: unknown) => faultOf(value) === undefined,
        defaultMessage: (context) => faultOf(context?.value) ?? 'is not accepted',
      },
    }),
    Schema({ type: 'string', minLength: min, maxLength: max }),
  );
}

function textFault(value: unknown, { min, max, multiline }: Required<Omit<TextLimits, 'seen'>>): string | undefined {
  if (typeof value !== 'string') return 'must be a string';
  const length = value.length > 2 * max ? Infinity : lengthInCodePoints(value);
  if (length < min || length > max) return `must have from ${min} to ${max} characters`;
  if (!value.isWellFormed()) return 'must not contain a lone surrogate';
  if ((multiline ? CONTROL_BUT_LINES : CONTROL).test(value)) return 'must not contain control characters';
  return undefined;
}

/** A lower-case UUID. */
export function Uuid(): PropertyDecorator {
  return joined(
    ValidateBy({
      name: 'isUuidText',
      validator: { validate: isUuid, defaultMessage: () => 'must be a lower-case UUID' },
    }),
    Schema({ type: 'string', format: 'uuid' }),
  );
}

/** A lower-case UUID or null, which says something else than absence: that must not be. */
export function UuidOrNull(): PropertyDecorator {
  return joined(
    ValidateBy({
      name: 'isUuidTextOrNull',
      validator: {
        validate: (value: unknown) => value === null || isUuid(value),
        defaultMessage: () => 'must be a lower-case UUID or null',
      },
    }),
    Schema({ type: ['string', 'null'], format: 'uuid' }),
  );
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function isUuid(value: unknown): value is string {
  return typeof value === 'string' && UUID.test(value);
}

/** An integer of a JSON body. */
export function Integer(min: number, max: number): PropertyDecorator {
  const message = `must be an integer from ${min} to ${max}`;
  return joined(IsInt({ message }), Min(min, { message }), Max(max, { message }), Schema({ type: 'integer' }));
}

/** An integer of a query string. */
export function QueryInteger(min: number, max: number): PropertyDecorator {
  return joined(
    Type(() => Number),
    Integer(min, max),
  );
}

export function OneOf(...choices: readonly string[]): PropertyDecorator {
  return IsIn([...choices], { message: `must be one of ${choices.join(', ')}` });
}

/** The member may be absent. Unlike `IsOptional` of class-validator, null is not absent. */
export function Optional(): PropertyDecorator {
  return ValidateIf((_owner, value) => value !== undefined);
}

/** The member may be absent or null. Stands above what tells its type. */
export function OptionalOrNull(): PropertyDecorator {
  const validate = ValidateIf((_owner, value) => value !== undefined && value !== null);
  return (target, member) => {
    validate(target, member);
    const { type } = (Reflect.getOwnMetadata(SCHEMA, target, member) ?? {}) as { readonly type?: string | string[] };
    if (type !== undefined) Schema({ type: [...new Set([type, 'null'].flat())] })(target, member);
  };
}

/**
 * Adds to what the OpenAPI document says of a member, or replaces it; the decorator that stands above wins. The member
 * is known from then on, also where no validator tells of it.
 */
export function Schema(schema: Readonly<Record<string, unknown>>): PropertyDecorator {
  return (target, member) => {
    const merged = { ...(Reflect.getOwnMetadata(SCHEMA, target, member) as object | undefined), ...schema };
    Reflect.defineMetadata(SCHEMA, merged, target, member);
    Allow()(target, String(member));
    // The library keeps only the last one of its own.
    JSONSchema(merged)(target, String(member));
  };
}

function joined(...decorators: readonly PropertyDecorator[]): PropertyDecorator {
  return (target, member) => {
    for (const decorate of decorators) decorate(target, member);
  };
}
