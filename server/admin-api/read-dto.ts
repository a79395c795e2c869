import { plainToInstance } from 'class-transformer';
import { getMetadataStorage, validateSync, type ValidationError } from 'class-validator';
import { invalidFields, type FieldError } from '../../lib/problem.js';
import { escapePointer, isPlainObject } from '../../lib/schema.js';
import type { DtoClass } from './route.js';
import { memberFaults } from './shown.js';

/**
 * Reads untrusted data as an instance of the class, or throws `request-invalid` with every rejected member: unknown
 * ones, those the decorators refuse, and strings that PostgreSQL cannot store.
 */
export function readDto<T extends object>(dto: DtoClass<T>, value: unknown): T {
  const data = readData(value);
  const known = membersOf(dto);
  const unknown = Object.keys(data).filter((key) => !known.has(key));
  const errors: FieldError[] = unknown.map((key) => unknownMember(`#/${escapePointer(key)}`, known));
  const instance = plainToInstance(dto, Object.fromEntries(Object.entries(data).filter(([key]) => known.has(key))));
  for (const fault of validateSync(instance, { whitelist: true, forbidNonWhitelisted: true }))
    errors.push(...fieldErrorsOf(fault, '#'));
  if (errors.length > 0) throw invalidFields(errors);
  return instance;
}

/** Checks free data, whose keys a catalogue knows: an object whose keys and strings can be stored. */
export function readData(value: unknown): Record<string, unknown> {
  if (!isPlainObject(value)) throw invalidFields([{ pointer: '#', detail: 'must be an object' }]);
  const errors: FieldError[] = [];
  findUnstorable(value, '#', errors);
  if (errors.length > 0) throw invalidFields(errors);
  return value;
}

/** Recursion ends: bodies nest at most 64 levels. */
function findUnstorable(value: unknown, pointer: string, errors: FieldError[]): void {
  if (typeof value === 'string') {
    const detail = textFault(value);
    if (detail) errors.push({ pointer, detail });
  } else if (Array.isArray(value)) {
    for (const [index, member] of value.entries()) findUnstorable(member, `${pointer}/${index}`, errors);
  } else if (isPlainObject(value)) {
    for (const key of Object.keys(value)) {
      const detail = keyFault(key);
      if (detail) errors.push({ pointer, detail });
      else findUnstorable(value[key], `${pointer}/${escapePointer(key)}`, errors);
    }
  }
}

function textFault(text: string): string | undefined {
  if (!text.isWellFormed()) return 'must not contain a lone surrogate';
  return text.includes('\0') ? 'must not contain U+0000' : undefined;
}

/** Names of the object prototype would be taken for members that every object has. */
function keyFault(key: string): string | undefined {
  if (key in Object.prototype) return `must not have a member named "${key}"`;
  return textFault(key) === undefined ? undefined : 'has a key that is malformed';
}

function membersOf(dto: DtoClass): ReadonlySet<string> {
  const metadata = getMetadataStorage().getTargetValidationMetadatas(dto, '', true, false);
  return new Set(metadata.map(({ propertyName }) => propertyName));
}

function unknownMember(pointer: string, known: ReadonlySet<string>): FieldError {
  const names = [...known].toSorted().join(', ');
  return { pointer, detail: names === '' ? 'is not known here' : `is not known here; known are ${names}` };
}

function fieldErrorsOf(fault: ValidationError, above: string): FieldError[] {
  const pointer = `${above}/${escapePointer(fault.property)}`;
  const below = (fault.children ?? []).flatMap((child) => fieldErrorsOf(child, pointer));
  const { constraints } = fault;
  const members = fault.value === undefined ? undefined : memberFaults(fault.target, fault.property, fault.value);
  if (members)
    return members.map(({ key, detail }) => ({
      pointer: key === undefined ? pointer : `${pointer}/${escapePointer(key)}`,
      detail,
    }));
  return constraints ? [{ pointer, detail: detailOf(fault, constraints) }, ...below] : below;
}

function detailOf(fault: ValidationError, constraints: Readonly<Record<string, string>>): string {
  if ('whitelistValidation' in constraints) return 'is not known here';
  if (fault.value === undefined) return 'is required';
  const prefix = `${fault.property} `;
  const details = Object.values(constraints).map((text) =>
    text.startsWith(prefix) ? text.slice(prefix.length) : text,
  );
  return [...new Set(details)].join('; ');
}
