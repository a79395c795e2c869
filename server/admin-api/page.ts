import { invalidFields, Problem, type FieldError } from '../../lib/problem.js';
import { isSound } from '../../lib/schema.js';
import { isUuid, Optional, QueryInteger, Schema, Text } from './dto.js';

const LONGEST_CURSOR = 2048;
const LONGEST_KEY = 1024;

/** What every list takes; those without any text to look for take no more. */
export class PlainPageQuery {
  @Optional()
  @Schema({ default: 50 })
  @QueryInteger(1, 500)
  limit: number = 50;

  /** The `next` of the page before. */
  @Optional()
  @Text({ min: 1, max: LONGEST_CURSOR })
  cursor?: string;

  /** A declared key, or the same with `-` in front for descending order. */
  @Optional()
  @Text({ min: 1, max: 64 })
  sort?: string;
}

/** What lists with names or other text take. A list with filters extends it. */
export class PageQuery extends PlainPageQuery {
  /** Part of a name. */
  @Optional()
  @Text({ min: 1, max: 256 })
  q?: string;
}

/** One page; `next` is null on the last one. */
export interface Page<Item> {
  readonly items: readonly Item[];
  readonly next: string | null;
}

export type SortKeyType = 'text' | 'integer' | 'timestamptz' | 'uuid';

export interface SortKey {
  /** The SQL column or expression, indexed together with the id. */
  readonly column: string;
  readonly type: SortKeyType;
  /** Nulls come last in ascending and first in descending order, as PostgreSQL's indexes have them. */
  readonly nullable?: boolean;
}

/** How one list may be sorted; the id makes every order total. */
export interface ListOrder {
  /** The list's own name: a cursor of one list is refused by every other. */
  readonly list: string;
  readonly keys: Readonly<Record<string, SortKey>>;
  /** `name` or `-name`. */
  readonly default: string;
  readonly id: string;
  /** `uuid` when absent. */
  readonly idType?: 'uuid' | 'text' | 'integer';
}

/** A sort key's value as it is compared: text, an integer (also as decimal text), RFC 3339 for timestamps. */
export type KeyValue = string | number | null;

/** The position of a row: its sort key's value and its id. */
export type RowKey = readonly [value: KeyValue, id: string];

export interface PageRequest {
  readonly limit: number;
  readonly sort: string;
  readonly key: SortKey;
  readonly descending: boolean;
  readonly after: RowKey | undefined;
  readonly order: ListOrder;
}

/** Reads limit, sort and cursor against the declared keys; throws `request-invalid` at `#/sort` or `#/cursor`. */
export function parsePage(query: PlainPageQuery, order: ListOrder): PageRequest {
  const sort = query.sort ?? order.default;
  const descending = sort.startsWith('-');
  const name = descending ? sort.slice(1) : sort;
  const key = Object.hasOwn(order.keys, name) ? order.keys[name] : undefined;
  if (!key)
    throw invalidFields([
      { pointer: '#/sort', detail: `must be one of ${Object.keys(order.keys).join(', ')}, or one with - in front` },
    ]);
  const after = query.cursor === undefined ? undefined : decodeCursor(query.cursor, { sort, key, order });
  return { limit: query.limit, sort, key, descending, after, order };
}

/** What `parsePage` would refuse, beside the errors that are known of the query. */
export function pageFaults(
  query: PlainPageQuery,
  order: ListOrder,
  known: readonly FieldError[],
): readonly FieldError[] {
  // A cursor is one of a sort: it cannot be judged without.
  if (!isSound(known, '#/sort')) return [];
  const { cursor, ...first } = query;
  try {
    parsePage(cursor === undefined || !isSound(known, '#/cursor') ? first : query, order);
    return [];
  } catch (error) {
    if (error instanceof Problem && error.facts.errors) return error.facts.errors;
    throw error;
  }
}

/** Opaque to callers: base64url of the JSON of the list, the sort, the key's value and the id. */
export function encodeCursor({ order, sort }: Pick<PageRequest, 'order' | 'sort'>, [value, id]: RowKey): string {
  return Buffer.from(JSON.stringify([order.list, sort, value, id])).toString('base64url');
}

type CursorRules = Pick<PageRequest, 'sort' | 'key' | 'order'>;

/** Throws `request-invalid` at `#/cursor` for anything `encodeCursor` did not write for this list and sort. */
export function decodeCursor(cursor: string, rules: CursorRules): RowKey {
  const [list, sort, value, id, ...rest] = cursorMembers(cursor);
  if (list !== rules.order.list || sort !== rules.sort || rest.length > 0)
    throw invalidCursor('is of another list or sort');
  const { nullable = false, type } = rules.key;
  const fits = value === null ? nullable : isKeyValue(value, type);
  if (!fits || !isKeyValue(id, rules.order.idType ?? 'uuid')) throw invalidCursor('is not one that a list answered');
  return [value as KeyValue, String(id)];
}

function cursorMembers(cursor: string): readonly unknown[] {
  try {
    const members: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
    if (Array.isArray(members)) return members;
  } catch {
    // Answered below like every other thing that is no cursor.
  }
  throw invalidCursor('is not one that a list answered');
}

function invalidCursor(detail: string): Problem {
  return invalidFields([{ pointer: '#/cursor', detail: `${detail}; leave it out to begin with the first page` }]);
}

const INTEGER = /^-?[0-9]{1,18}$/;
const INSTANT = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$/;

const KEY_CHECKS: Readonly<Record<SortKeyType, (value: unknown) => boolean>> = {
  text: (value) =>
    typeof value === 'string' && value.length <= LONGEST_KEY && value.isWellFormed() && !value.includes('\0'),
  integer: (value) => Number.isSafeInteger(value) || (typeof value === 'string' && INTEGER.test(value)),
  timestamptz: (value) => typeof value === 'string' && INSTANT.test(value) && !Number.isNaN(Date.parse(value)),
  uuid: isUuid,
};

function isKeyValue(value: unknown, type: SortKeyType): boolean {
  return KEY_CHECKS[type](value);
}

export interface Keyset {
  /** A condition for WHERE; `TRUE` on the first page. */
  readonly condition: string;
  /** What follows ORDER BY; always ends in the id. */
  readonly orderBy: string;
  readonly parameters: readonly unknown[];
}

const SQL_TYPES: Readonly<Record<SortKeyType, string>> = {
  text: 'text',
  integer: 'bigint',
  timestamptz: 'timestamptz',
  uuid: 'uuid',
};

/** The SQL of a page, its parameters numbered from `first`. Read `limit + 1` rows and hand them to `pageOf`. */
export function keysetOf(page: PageRequest, first: number): Keyset {
  const direction = page.descending ? 'DESC' : 'ASC';
  const orderBy = `${page.key.column} ${direction}, ${page.order.id} ${direction}`;
  if (!page.after) return { condition: 'TRUE', orderBy, parameters: [] };
  const [value, id] = page.after;
  const sign = page.descending ? '<' : '>';
  const idType = SQL_TYPES[page.order.idType ?? 'uuid'];
  if (value === null) return { condition: afterNull(page, `${sign} $${first}::${idType}`), orderBy, parameters: [id] };
  const { column, nullable = false, type } = page.key;
  const rows = `(${column}, ${page.order.id}) ${sign} ($${first}::${SQL_TYPES[type]}, $${first + 1}::${idType})`;
  const condition = nullable && !page.descending ? `(${rows} OR ${column} IS NULL)` : rows;
  return { condition, orderBy, parameters: [value, id] };
}

function afterNull({ key, order, descending }: PageRequest, beyondId: string): string {
  const sameNull = `(${key.column} IS NULL AND ${order.id} ${beyondId})`;
  return descending ? `(${sameNull} OR ${key.column} IS NOT NULL)` : sameNull;
}

/** The page from up to `limit + 1` rows read by `keysetOf`; a row too many means that another page follows. */
export function pageOf<Row>(
  rows: readonly Row[],
  page: Pick<PageRequest, 'limit' | 'order' | 'sort'>,
  keyOf: (row: Row) => RowKey,
): Page<Row> {
  const items = rows.slice(0, page.limit);
  const last = items.at(-1);
  const next = rows.length > page.limit && last !== undefined ? encodeCursor(page, keyOf(last)) : null;
  return { items, next };
}

/** The order of a list by name, or by when its rows were made. */
export function namedOrder(list: string, table: string): ListOrder {
  return {
    list,
    keys: {
      name: { column: `${table}.name`, type: 'text' },
      createdAt: { column: `${table}.created_at`, type: 'timestamptz' },
    },
    default: 'name',
    id: `${table}.id`,
  };
}

interface NamedRow {
  readonly id: string;
  readonly name: string;
  readonly createdAt: Date;
}

/** `pageOf` in a `namedOrder`. */
export function pageOfNamed<Row extends NamedRow>(rows: readonly Row[], page: PageRequest): Page<Row> {
  const isByName = page.key === page.order.keys['name'];
  return pageOf(rows, page, ({ id, name, createdAt }) => [isByName ? name : createdAt.toISOString(), id]);
}

/** The same page with every row turned into what the API shows. */
export function mapPage<Row, Item>(page: Page<Row>, toItem: (row: Row) => Item): Page<Item> {
  return { items: page.items.map(toItem), next: page.next };
}

/** A pattern for `LIKE`/`ILIKE … ESCAPE '\'` that finds the text anywhere, its own wildcards taken literally. */
export function containing(text: string): string {
  return `%${text.replaceAll(/[\\%_]/g, String.raw`\$&`)}%`;
}
