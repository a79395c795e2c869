/** The part of JSON Schema that the OpenAPI document uses. */
export interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly format?: string;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly allOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly pattern?: string;
}

interface Operation {
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { readonly schema: Schema }>> }>
  >;
}

export interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

export function schemaOfAnswer(operation: Operation | undefined): Schema | undefined {
  return operation?.responses['200']?.content?.['application/json']?.schema;
}

/** Everything in which an answer differs from its schema; a member that the schema does not name differs too. */
export function differencesFrom(api: OpenApi, schema: Schema, value: unknown): readonly string[] {
  return new Checker(api).check(schema, value, '#');
}

const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const FORMATS: Readonly<Record<string, RegExp>> = {
  'date-time': INSTANT,
  uuid: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
};

class Checker {
  constructor(private readonly api: OpenApi) {}

  check(given: Schema, value: unknown, at: string): string[] {
    const schema = this.resolve(given);
    if (Object.keys(schema).length === 0) return [];
    const choices = schema.anyOf ?? schema.oneOf;
    if (choices) return this.anyOf(choices, value, at);
    if (!typesOf(schema).some((type) => isOfType(value, type)))
      return [`${at}: ${JSON.stringify(value)} is not ${JSON.stringify(schema.type)}`];
    if (schema.enum && !schema.enum.includes(value)) return [`${at}: ${String(value)} is not in the enum`];
    return this.content(schema, value, at);
  }

  private content(schema: Schema, value: unknown, at: string): string[] {
    if (typeof value === 'string') return textDifferences(schema, value, at);
    if (typeof value === 'number') return numberDifferences(schema, value, at);
    if (Array.isArray(value)) return this.array(schema, value, at);
    return typeof value === 'object' && value !== null ? this.object(schema, value, at) : [];
  }

  private resolve(schema: Schema): Schema {
    const name = schema.$ref?.replace('#/components/schemas/', '');
    if (name !== undefined) {
      const found = this.api.components.schemas[name];
      if (!found) throw new Error(`The document has no schema ${name}`);
      return this.resolve(found);
    }
    if (!schema.allOf) return schema;
    const parts = [schema, ...schema.allOf.map((part) => this.resolve(part))];
    return {
      ...Object.assign({}, ...parts),
      allOf: undefined,
      properties: Object.assign({}, ...parts.map(({ properties }) => properties)),
      required: parts.flatMap(({ required = [] }) => required),
    } as unknown as Schema;
  }

  private anyOf(choices: readonly Schema[], value: unknown, at: string): string[] {
    const found = choices.map((choice) => this.check(choice, value, at));
    return found.some((differences) => differences.length === 0) ? [] : found.flat();
  }

  private array({ items }: Schema, value: readonly unknown[], at: string): string[] {
    return items ? value.flatMap((member, index) => this.check(items, member, `${at}/${index}`)) : [`${at}: no items`];
  }

  private object(schema: Schema, value: object, at: string): string[] {
    const { properties = {}, required = [], additionalProperties } = schema;
    const missing = required.filter((name) => !Object.hasOwn(value, name)).map((name) => `${at}/${name}: missing`);
    const others = Object.entries(value).flatMap(([name, member]) => {
      const known = properties[name];
      if (known) return this.check(known, member, `${at}/${name}`);
      if (additionalProperties === true) return [];
      return additionalProperties
        ? this.check(additionalProperties, member, `${at}/${name}`)
        : [`${at}/${name}: not in the schema`];
    });
    return [...missing, ...others];
  }
}

function typesOf({ type }: Schema): readonly string[] {
  if (type === undefined) return ['any'];
  return typeof type === 'string' ? [type] : type;
}

const TYPES: Readonly<Record<string, (value: unknown) => boolean>> = {
  any: () => true,
  null: (value) => value === null,
  string: (value) => typeof value === 'string',
  boolean: (value) => typeof value === 'boolean',
  number: (value) => typeof value === 'number',
  integer: (value) => Number.isInteger(value),
  array: (value) => Array.isArray(value),
  object: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
};

function isOfType(value: unknown, type: string): boolean {
  const test = TYPES[type];
  if (!test) throw new Error(`The document names a type ${type}`);
  return test(value);
}

function textDifferences(schema: Schema, value: string, at: string): string[] {
  const { minLength = 0, maxLength = Infinity, format, pattern } = schema;
  const length = [...value].length;
  const rule = format === undefined ? undefined : FORMATS[format];
  const faults = [
    length < minLength || length > maxLength ? 'its length' : '',
    rule && !rule.test(value) ? `no ${format}` : '',
    pattern !== undefined && !new RegExp(pattern, 'u').test(value) ? 'not of the pattern' : '',
  ];
  return faults.filter((fault) => fault !== '').map((fault) => `${at}: ${value}: ${fault}`);
}

function numberDifferences({ minimum = -Infinity, maximum = Infinity }: Schema, value: number, at: string): string[] {
  return value < minimum || value > maximum ? [`${at}: ${value} is out of range`] : [];
}
