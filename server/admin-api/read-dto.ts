import { plainToInstance } from 'class-transformer';
import { getMetadataStorage, validateSync, type ValidationError } from 'class-validator';
import { FIELDS_NAMED_MAX, invalidFields, NamedFields, type FieldError } from '../../lib/problem.js';
import { escapePointer, isPlainObject, isSound } from '../../lib/schema.js';
import { refinedFaults } from './refined.js';
import type { DtoClass } from './route.js';
import { memberFaults } from './shown.js';

/** What was read, also where parts of it are refused, and every field that is. */
export interface Judged<T> {
  readonly value: T;
  readonly errors: readonly FieldError[];
}

/**
 * Reads untrusted data as an instance of the class, or throws `request-invalid` with every rejected member: unknown
 * ones, those the decorators refuse, and strings that PostgreSQL cannot store.
 */
export function readDto<T extends object>(dto: DtoClass<T>, value: unknown): T {
  const judged = judgeDto(dto, value);
  if (judged.errors.length > 0) throw invalidFields(judged.errors);
  return judged.value;
}

/** As `readDto`, for whoever has more to judge. */
export function judgeDto<T extends object>(dto: DtoClass<T>, value: unknown): Judged<T> {
  const { value: data, errors: unstorable } = judgeData(value);
  if (!isPlainObject(value)) return { value: data as T, errors: unstorable };
  const known = membersOf(dto);
  const unknown = Object.keys(data)
    .filter((key) => !known.has(key))
    .slice(0, FIELDS_NAMED_MAX);
  const instance = plainToInstance(dto, Object.fromEntries(Object.entries(data).filter(([key]) => known.has(key))));
  const errors = merged([
    unstorable,
    unknown.map((key) => unknownMember(`#/${escapePointer(key)}`, known)),
    validateSync(instance, { whitelist: true, forbidNonWhitelisted: true }).flatMap((one) => fieldErrorsOf(one, '#')),
  ]);
  const together = refinedFaults(instance, '#', errors).filter(({ pointer }) => isSound(errors, pointer));
  return { value: instance, errors: merged([errors, together]) };
}

/** One error for a field: the first one, and none for its parts. */
function merged(lists: readonly (readonly FieldError[])[]): readonly FieldError[] {
  const named = new Set<string>();
  return lists.flat().filter(({ pointer }) => {
    if (aboveOf(pointer).some((above) => named.has(above))) return false;
    named.add(pointer);
    return true;
  });
}

/** The pointer itself and what it is a part of, but for the whole: that is named for its keys. */
function aboveOf(pointer: string): readonly string[] {
  const tokens = pointer.split('/');
  return tokens.map((_token, index) => tokens.slice(0, index + 1).join('/')).filter((above) => above !== '#');
}

/** Free data, whose keys a catalogue knows: an object whose keys and strings can be stored. What cannot be is left out. */
export function judgeData(value: unknown): Judged<Record<string, unknown>> {
  if (!isPlainObject(value)) return { value: {}, errors: [{ pointer: '#', detail: 'must be an object' }] };
  const faults = new NamedFields();
  return { value: storable(value, '#', faults) as Record<string, unknown>, errors: faults.errors };
}

/** The same without members whose names cannot be. Recursion ends: bodies nest at most 64 levels. */
function storable(value: unknown, pointer: string, faults: NamedFields): unknown {
  if (faults.isFull) return undefined;
  if (typeof value === 'string') {
    const detail = textFault(value);
    if (detail) faults.add({ pointer, detail });
    return value;
  }
  if (Array.isArray(value)) return value.map((member, index) => storable(member, `${pointer}/${index}`, faults));
  if (!isPlainObject(value)) return value;
  const kept: [string, unknown][] = [];
  for (const key of Object.keys(value)) {
    const fault = keyFault(key, pointer);
    if (fault) faults.add(fault);
    else kept.push([key, storable(value[key], `${pointer}/${escapePointer(key)}`, faults)]);
  }
  return Object.fromEntries(kept);
}

function textFault(text: string): string | undefined {
  if (!text.isWellFormed()) return 'must not contain a lone surrogate';
  return text.includes('\0') ? 'must not contain U+0000' : undefined;
}

const KEY_MAX = 256;

/** Names of the object prototype would be taken for members that every object has. */
function keyFault(key: string, pointer: string): FieldError | undefined {
  if (key in Object.prototype) return { pointer: `${pointer}/${key}`, detail: 'is not a name that a member may have' };
  if (key.length > KEY_MAX) return { pointer, detail: `has a key of more than ${KEY_MAX} characters` };
  return textFault(key) === undefined ? undefined : { pointer, detail: 'has a key that is malformed' };
}

function membersOf(dto: DtoClass): ReadonlySet<string> {
  const metadata = getMetadataStorage().getTargetValidationMetadatas(dto, '', true, false);
  return new Set(metadata.map(({ propertyName }) => propertyName));
}

function unknownMember(pointer: string, known: ReadonlySet<string>): FieldError {
  const names = [...known].toSorted().join(', ');
  return { pointer, detail: names === '' ? 'is not known here' : `is not known here; known are ${names}` };
}

function fieldErrorsOf(fault: ValidationError, above: string): readonly FieldError[] {
  const pointer = `${above}/${escapePointer(fault.property)}`;
  const below = (fault.children ?? []).flatMap((child) => fieldErrorsOf(child, pointer));
  const { constraints, target, property, value } = fault;
  const members = value === undefined ? undefined : memberFaults({ owner: target, property, value, pointer });
  if (members) return members;
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
