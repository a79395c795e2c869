import { isIP } from 'node:net';
import type { FieldError } from '../lib/problem.js';
import {
  array,
  escapePointer,
  integer,
  isPlainObject,
  isSound,
  object,
  oneOf,
  optional,
  string,
  type Schema,
} from '../lib/schema.js';
import { COMPONENT_KINDS, type MaintenanceWindow, type ProxySetting, type WatchedComponent } from './setting-values.js';

/** The most members a list setting may have. */
export const LIST_MAX = 100;
const URL_MAX = 2048;
const UNKNOWN_NAMED_MAX = 20;
const NAME_SHOWN_MAX = 64;
const WEEK_MINUTES = 7 * 24 * 60;
const MAC = /^[0-9a-f]{2}(?:([:-])[0-9a-f]{2})(?:\1[0-9a-f]{2}){4}$/i;
/** The name of a secret. */
export const CREDENTIAL_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** A string for which `check` returns nothing, or what the string must be. */
function checkedString(max: number, check: (value: string) => string | undefined): Schema<string> {
  const text = string({ min: 1, max });
  return (value, pointer, errors) => {
    const read = text(value, pointer, errors);
    const detail = read === undefined ? undefined : check(read);
    if (detail !== undefined) errors.push({ pointer, detail });
    return read;
  };
}

function isCidr(text: string): boolean {
  const [address = '', prefix = '', ...rest] = text.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0 || !/^(?:0|[1-9]\d{0,2})$/.test(prefix) || address.includes('%')) return false;
  return Number(prefix) <= (version === 4 ? 32 : 128);
}

const MAPPED = /^\[::ffff:[0-9a-f]{1,4}:[0-9a-f]{1,4}\]$/;

/** IPv4 in IPv6's clothes, however it is written: addresses are compared as IPv4, so it would admit nobody. */
function isMapped(cidr: string): boolean {
  const [address = ''] = cidr.split('/');
  // A URL's host is written in the one canonical way (RFC 5952).
  return isIP(address) === 6 && MAPPED.test(new URL(`http://[${address}]`).hostname);
}

/** `10.0.0.0/8`, `fd00::/8` or `00:11:22:aa:bb:cc`. */
export const allowedSource: Schema<string> = checkedString(64, (text) =>
  (isCidr(text) && !isMapped(text)) || MAC.test(text)
    ? undefined
    : 'must be a CIDR block such as 10.0.0.0/8 or a MAC address such as 00:11:22:aa:bb:cc',
);

function urlFault(text: string, protocols: readonly string[]): string | undefined {
  const says = `must be ${protocols.map((protocol) => `${protocol}//`).join(' or ')} with a host and an optional port`;
  if (!/^https?:\/\/[^/]/i.test(text) || /[\s\\]/.test(text) || !URL.canParse(text)) return says;
  const url = new URL(text);
  if (!protocols.includes(url.protocol)) return says;
  if (/^https?:\/\/[^/?#]*@/i.test(text)) return 'must not contain user info; name a credential instead';
  if (url.port === '0') return 'must not name port 0, on which nothing listens';
  return url.pathname !== '/' || text.includes('?') || text.includes('#')
    ? `${says}, and nothing after them`
    : undefined;
}

export const managerUrl: Schema<string> = checkedString(URL_MAX, (text) =>
  /^https?:\/\/[^/?#]*@/i.test(text) ? 'must not contain user info' : urlFault(text, ['https:']),
);

const proxyUrl = checkedString(URL_MAX, (text) => urlFault(text, ['http:', 'https:']));

/** Refuses members that the inner schema would silently ignore: a mistyped member of a setting must not be lost. */
function strict<T>(known: readonly string[], inner: Schema<T>): Schema<T> {
  return (value, pointer, errors) => {
    const unknown = isPlainObject(value) ? Object.keys(value).filter((key) => !known.includes(key)) : [];
    for (const key of unknown.slice(0, UNKNOWN_NAMED_MAX))
      errors.push({
        pointer: `${pointer}/${escapePointer(key.slice(0, NAME_SHOWN_MAX))}`,
        detail: `is not known here; known are ${known.join(', ')}`,
      });
    return inner(value, pointer, errors);
  };
}

export const proxy: Schema<ProxySetting> = strict(
  ['url', 'credential'],
  object({
    url: proxyUrl,
    credential: optional(
      string({
        min: 1,
        max: 128,
        pattern: { source: CREDENTIAL_NAME, says: 'a name of letters, digits, ".", "_", "-"' },
      }),
    ),
  }),
);

export const watchedComponent: Schema<WatchedComponent> = strict(
  ['name', 'kind', 'match'],
  object({
    name: string({ min: 1, max: 128 }),
    kind: oneOf(...COMPONENT_KINDS),
    match: string({ min: 1, max: 256 }),
  }),
);

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
/** Days of each month, in a leap year. */
const MONTH_DAYS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

interface CronField {
  readonly min: number;
  readonly max: number;
  readonly names: readonly string[];
}

const DAY_FIELD: CronField = { min: 1, max: 31, names: [] };
const MONTH_FIELD: CronField = { min: 1, max: 12, names: MONTHS };
const CRON_FIELDS: readonly CronField[] = [
  { min: 0, max: 59, names: [] },
  { min: 0, max: 23, names: [] },
  DAY_FIELD,
  MONTH_FIELD,
  { min: 0, max: 7, names: DAYS },
];

function cronNumber(text: string, { min, max, names }: CronField): number | undefined {
  const named = names.indexOf(text.toLowerCase());
  if (named >= 0) return named + min;
  if (!/^\d{1,2}$/.test(text)) return undefined;
  const value = Number(text);
  return value >= min && value <= max ? value : undefined;
}

function isCronPart(part: string, field: CronField): boolean {
  const match = /^(\*|[^-/*]+(?:-[^-/*]+)?)(?:\/(\d{1,2}))?$/.exec(part);
  if (!match) return false;
  const [, range = '', step] = match;
  if (step === undefined) return isCronRange(range, field);
  const stepFits = Number(step) >= 1 && Number(step) <= field.max;
  return stepFits && (range === '*' || range.includes('-')) && isCronRange(range, field);
}

function isCronRange(range: string, field: CronField): boolean {
  if (range === '*') return true;
  const [first, last] = range.split('-').map((bound) => cronNumber(bound, field) ?? Number.NaN);
  return first !== undefined && first <= (last ?? first);
}

function isCron(text: string): boolean {
  const fields = text.split(' ');
  return (
    fields.length === CRON_FIELDS.length &&
    CRON_FIELDS.every((field, index) => fields[index]?.split(',').every((part) => isCronPart(part, field)))
  );
}

function cronValues(text: string, field: CronField): number[] {
  return text.split(',').flatMap((part) => {
    const [range = '', step = '1'] = part.split('/');
    const bounds = range.split('-').map((bound) => cronNumber(bound, field) ?? Number.NaN);
    const [first = field.min, last = first] = range === '*' ? [field.min, field.max] : bounds;
    const count = Math.floor((last - first) / Number(step)) + 1;
    return Array.from({ length: count }, (_, index) => first + index * Number(step));
  });
}

/** Whether any of its months has one of its days, in a leap year at least. A day of the week that is named comes anyway. */
function isEverDue(cron: string): boolean {
  const [, , days = '', months = '', weekdays] = cron.split(' ');
  if (weekdays !== '*' || days === '*') return true;
  const longest = Math.max(...cronValues(months, MONTH_FIELD).map((month) => MONTH_DAYS[month - 1] ?? 0));
  return Math.min(...cronValues(days, DAY_FIELD)) <= longest;
}

function cronFault(text: string): string | undefined {
  if (!isCron(text)) return 'must be a cron expression of five fields: minute hour day month weekday';
  return isEverDue(text) ? undefined : 'never comes: none of its months has such a day';
}

function isTimeZone(text: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_+/-]*$/.test(text)) return false;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: text }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

export const maintenanceWindow: Schema<MaintenanceWindow> = strict(
  ['cron', 'durationMinutes', 'timeZone'],
  object({
    cron: checkedString(128, cronFault),
    durationMinutes: integer(1, WEEK_MINUTES),
    timeZone: checkedString(64, (text) =>
      isTimeZone(text) ? undefined : 'must be an IANA time zone such as Europe/Berlin',
    ),
  }),
);

/** A list in which no two members have the same name by `nameOf`; members that are refused have none. */
export function listOf<T>(inner: Schema<T>, nameOf: (member: T) => string): Schema<readonly T[]> {
  const list = array(inner, LIST_MAX);
  return (value, pointer, errors) => {
    const own: FieldError[] = [];
    const read = list(value, pointer, own) ?? [];
    const seen = new Set<string>();
    for (const [index, member] of read.entries()) {
      const at = `${pointer}/${index}`;
      if (!isSound(own, at)) continue;
      const name = nameOf(member);
      if (seen.has(name)) own.push({ pointer: at, detail: 'repeats an earlier member' });
      seen.add(name);
    }
    errors.push(...own);
    return read;
  };
}
