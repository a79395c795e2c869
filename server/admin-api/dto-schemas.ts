import { createRequire } from 'node:module';
import { getMetadataStorage, ValidationTypes } from 'class-validator';
import { validationMetadatasToSchemas } from 'class-validator-jsonschema';
import type { DtoClass } from './route.js';

export type JsonSchema = Readonly<Record<string, unknown>>;

const REF_PREFIX = '#/components/schemas/';

/** class-transformer offers its storage, which knows the types of nested members, by this path only. */
const { defaultMetadataStorage } = createRequire(import.meta.url)('class-transformer/cjs/storage.js') as {
  defaultMetadataStorage: NonNullable<
    NonNullable<Parameters<typeof validationMetadatasToSchemas>[0]>['classTransformerMetadataStorage']
  >;
};

/** The JSON schema of every DTO class that is loaded, by class name. */
export function schemasOfDtos(): Readonly<Record<string, JsonSchema>> {
  return validationMetadatasToSchemas({
    classTransformerMetadataStorage: defaultMetadataStorage,
    refPointerPrefix: REF_PREFIX,
    // Our own decorators say their schema themselves; the fallback would guess it from the member's type.
    additionalConverters: { [ValidationTypes.CUSTOM_VALIDATION]: () => ({}) },
  }) as unknown as Readonly<Record<string, JsonSchema>>;
}

export function refTo(dto: DtoClass): JsonSchema {
  return { $ref: `${REF_PREFIX}${dto.name}` };
}

/** The names of all components that a value refers to, directly or through others. */
export function reachableFrom(value: unknown, schemas: Readonly<Record<string, JsonSchema>>): ReadonlySet<string> {
  const found = new Set<string>();
  const visit = (part: unknown): void => {
    for (const name of refsIn(part)) {
      if (found.has(name)) continue;
      const schema = Object.hasOwn(schemas, name) ? schemas[name] : undefined;
      if (!schema) throw new Error(`No DTO class is named ${name}, or it has no decorated member`);
      found.add(name);
      visit(schema);
    }
  };
  visit(value);
  return found;
}

function refsIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, member]) =>
    key === '$ref' && typeof member === 'string' && member.startsWith(REF_PREFIX)
      ? [member.slice(REF_PREFIX.length)]
      : refsIn(member),
  );
}

/** Throws when two loaded classes have one of the names: the document would show the one for the other. */
export function assertOneClassPerName(names: ReadonlySet<string>): void {
  const { validationMetadatas } = getMetadataStorage() as unknown as {
    readonly validationMetadatas: ReadonlyMap<unknown, unknown>;
  };
  const seen = new Set<string>();
  for (const dto of validationMetadatas.keys()) {
    if (typeof dto !== 'function' || !names.has(dto.name)) continue;
    if (seen.has(dto.name)) throw new Error(`Two DTO classes are named ${dto.name}`);
    seen.add(dto.name);
  }
}

/** The reply of a list: a page whose items are of the class. */
export function pageSchemaOf(item: DtoClass): { readonly free: JsonSchema } {
  return {
    free: {
      type: 'object',
      required: ['items', 'next'],
      properties: {
        items: { type: 'array', items: refTo(item) },
        next: { type: ['string', 'null'], description: 'the cursor of the next page; null on the last one' },
      },
    },
  };
}
