import 'reflect-metadata';
import { Type } from 'class-transformer';
import { IsIn, IsInt, Max, Min, ValidateBy, ValidateIf } from 'class-validator';
import { JSONSchema } from 'class-validator-jsonschema';

/** Every DTO file imports its decorators from here, so that `reflect-metadata` is loaded before the first of them. */

export interface TextLimits {
  readonly min?: number;
  readonly max: number;
  /** Several lines and tabs are welcome; without it every control character is refused. */
  readonly multiline?: boolean;
}

// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
// eslint-disable-next-line no-control-regex
const CONTROL_BUT_LINES = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/;

/** A well-formed string without control characters, bounded in UTF-16 units. */
export function Text({ min = 0, max, multiline = false }: TextLimits): PropertyDecorator {
  const faultOf = (value: unknown) => textFault(value, { min, max, multiline });
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

function textFault(value: unknown, { min, max, multiline }: Required<TextLimits>): string | undefined {
  if (typeof value !== 'string') return 'must be a string';
  if (value.length < min || value.length > max) return `must have from ${min} to ${max} characters`;
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

/** The member may be absent or null. */
export function OptionalOrNull(): PropertyDecorator {
  return ValidateIf((_owner, value) => value !== undefined && value !== null);
}

const SCHEMA = Symbol('JSON schema of a member');

/** Adds to what the OpenAPI document says of a member, or replaces it; the decorator that stands above wins. */
export function Schema(schema: Readonly<Record<string, unknown>>): PropertyDecorator {
  return (target, member) => {
    const merged = { ...(Reflect.getOwnMetadata(SCHEMA, target, member) as object | undefined), ...schema };
    Reflect.defineMetadata(SCHEMA, merged, target, member);
    // The library keeps only the last one of its own.
    JSONSchema(merged)(target, String(member));
  };
}

function joined(...decorators: readonly PropertyDecorator[]): PropertyDecorator {
  return (target, member) => {
    for (const decorate of decorators) decorate(target, member);
  };
}
