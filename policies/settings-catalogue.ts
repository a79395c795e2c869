import { boolean, integer, oneOf, type Schema } from '../lib/schema.js';
import { canonicalJson, type JsonValue } from '../lib/canonical-json.js';
import type { FieldError } from '../lib/problem.js';
import { boundedRules, firewallRule } from './firewall-rules.js';
import { allowedSource, LIST_MAX, listOf, maintenanceWindow, managerUrl, proxy } from './setting-elements.js';
import { watchedComponent } from './setting-elements.js';
import { CONNECTION_MODES, DIRECTIONS, UNLIMITED } from './setting-values.js';
import type { LockMode, SettingKey, SettingValue, SettingValues, Unlimited } from './setting-values.js';

export type { SettingKey, SettingOverrides, SettingValue, SettingValues } from './setting-values.js';

export type SettingType = 'integer' | 'boolean' | 'enum' | 'list';
export type SettingUnit = 'seconds' | 'days' | 'megabytes' | 'heartbeats' | 'contacts' | 'eventsPerMinute' | 'port';
export type Audience = 'agent' | 'manager' | 'both';
/** Which values are the stricter ones; null where a key has no order. */
export type Stricter = 'less' | 'more' | 'true' | null;

/** What GET /settings-catalogue tells of one setting; everything but the schema and the order's meaning. */
export interface SettingDescription {
  readonly key: SettingKey;
  readonly type: SettingType;
  readonly unit: SettingUnit | null;
  readonly default: SettingValue;
  readonly range: { readonly min: number; readonly max: number } | null;
  readonly choices: readonly string[] | null;
  /** Whether `"unlimited"` is a value. */
  readonly unlimited: boolean;
  readonly maxItems: number | null;
  readonly stricter: Stricter;
  readonly audience: Audience;
  readonly apply: 'at once' | 'candidate';
  /** False while nothing that is built acts on the setting: it is stored, inherited and sent. */
  readonly effective: boolean;
  readonly description: string;
}

export interface CatalogueEntry<T extends SettingValue = SettingValue> extends Omit<SettingDescription, 'key'> {
  readonly default: T;
  readonly schema: Schema<T>;
}

interface Common<T> {
  readonly default: T;
  readonly stricter?: Stricter;
  readonly audience: Audience;
  readonly candidate?: true;
  readonly effective?: true;
  readonly description: string;
}

type Shape = Pick<SettingDescription, 'type' | 'unit' | 'range' | 'choices' | 'unlimited' | 'maxItems'>;
const PLAIN = { unit: null, range: null, choices: null, unlimited: false, maxItems: null } as const;

function entry<T extends SettingValue>(shape: Shape, schema: Schema<T>, common: Common<T>): CatalogueEntry<T> {
  return {
    ...shape,
    schema,
    default: common.default,
    stricter: common.stricter ?? null,
    audience: common.audience,
    apply: common.candidate ? 'candidate' : 'at once',
    effective: common.effective ?? false,
    description: common.description,
  };
}

type Bounds = readonly [min: number, max: number];

function integerSetting(unit: SettingUnit, [min, max]: Bounds, common: Common<number>): CatalogueEntry<number> {
  return entry({ ...PLAIN, type: 'integer', unit, range: { min, max } }, integer(min, max), common);
}

function unlimitedSetting(
  unit: SettingUnit,
  [min, max]: Bounds,
  common: Common<number | Unlimited>,
): CatalogueEntry<number | Unlimited> {
  const schema: Schema<number | Unlimited> = (value, pointer, errors) => {
    if (value === UNLIMITED) return value;
    const inRange = typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max;
    if (inRange) return value;
    errors.push({ pointer, detail: `must be an integer from ${min} to ${max}, or "${UNLIMITED}"` });
    return undefined;
  };
  return entry({ ...PLAIN, type: 'integer', unit, range: { min, max }, unlimited: true }, schema, common);
}

function booleanSetting(common: Common<boolean>): CatalogueEntry<boolean> {
  return entry({ ...PLAIN, type: 'boolean' }, boolean, common);
}

function enumSetting<const T extends SettingValue & string>(
  choices: readonly T[],
  common: Common<T>,
): CatalogueEntry<T> {
  return entry({ ...PLAIN, type: 'enum', choices }, oneOf(...choices), common);
}

function listSetting<T extends SettingValue & readonly unknown[]>(
  schema: Schema<T>,
  common: Common<T>,
): CatalogueEntry<T> {
  return entry({ ...PLAIN, type: 'list', maxItems: LIST_MAX }, schema, common);
}

const sameText = (text: string): string => text;

/** The one catalogue: validator, document, form, resolver and fingerprint are derived from it. */
export const SETTINGS_CATALOGUE: { readonly [K in SettingKey]: CatalogueEntry<SettingValues[K]> } = {
  heartbeatIntervalSeconds: integerSetting('seconds', [5, 86_400], {
    default: 60,
    stricter: 'less',
    audience: 'both',
    effective: true,
    description: 'Time between heartbeats.',
  }),
  heartbeatsMissedAllowed: unlimitedSetting('heartbeats', [0, 1000], {
    default: 2,
    stricter: 'less',
    audience: 'manager',
    effective: true,
    description: 'Consecutive misses that raise nothing: with 3, the 4th miss raises the alert.',
  }),
  heartbeatGraceSeconds: integerSetting('seconds', [0, 600], {
    default: 5,
    stricter: 'less',
    audience: 'manager',
    effective: true,
    description: 'Network slack added to every deadline.',
  }),
  clockChangeLimitSeconds: unlimitedSetting('seconds', [1, 86_400], {
    default: 60,
    stricter: 'less',
    audience: 'manager',
    effective: true,
    description: "Change of the computer's clock between two heartbeats above which an alert is raised.",
  }),
  clockDriftLimitSeconds: unlimitedSetting('seconds', [1, 86_400], {
    default: 300,
    stricter: 'less',
    audience: 'manager',
    effective: true,
    description: "Standing difference from the manager's clock above which an alert is raised.",
  }),
  offlineAlertForStoppedVm: booleanSetting({
    default: false,
    stricter: 'true',
    audience: 'manager',
    effective: true,
    description: 'Whether a stopped virtual machine raises an offline alert.',
  }),
  goodbyeToleranceSeconds: integerSetting('seconds', [0, 86_400], {
    default: 300,
    stricter: 'less',
    audience: 'manager',
    effective: true,
    description: 'How long an announced restart or update may take.',
  }),
  settingsPendingContactsAllowed: integerSetting('contacts', [0, 100], {
    default: 2,
    stricter: 'less',
    audience: 'manager',
    effective: true,
    description: 'Exchanges after which unapplied settings raise settings-pending.',
  }),
  communicationDirection: enumSetting(DIRECTIONS, {
    default: 'bidirectional',
    audience: 'both',
    candidate: true,
    effective: true,
    description: 'Who may open connections.',
  }),
  connectionMode: enumSetting(CONNECTION_MODES, {
    default: 'held',
    audience: 'both',
    candidate: true,
    effective: true,
    description: 'held: a WebSocket kept open, and HTTPS while there is none; perHeartbeat: connect, exchange, close.',
  }),
  pingIntervalSeconds: integerSetting('seconds', [5, 300], {
    default: 30,
    stricter: 'less',
    audience: 'both',
    effective: true,
    description: 'Time between the liveness checks of a held connection, by both ends.',
  }),
  pongTimeoutSeconds: integerSetting('seconds', [1, 60], {
    default: 10,
    stricter: 'less',
    audience: 'both',
    effective: true,
    description: 'How long the answer to a liveness check of a held connection may take.',
  }),
  listenerPort: integerSetting('port', [1, 65_535], {
    default: 4118,
    audience: 'both',
    candidate: true,
    effective: true,
    description: 'Where a listening agent listens.',
  }),
  listenerAllowedSources: listSetting(listOf(allowedSource, sameText), {
    default: [],
    audience: 'agent',
    candidate: true,
    effective: true,
    description: "CIDR blocks and MAC addresses that may reach the agent's port; empty means any.",
  }),
  managerUrls: listSetting(listOf(managerUrl, sameText), {
    default: [],
    audience: 'agent',
    candidate: true,
    effective: true,
    description: 'Ordered https URLs of managers; empty means the one enrolled with.',
  }),
  proxies: listSetting(
    listOf(proxy, ({ url, credential }) => `${url} ${credential ?? ''}`),
    {
      default: [],
      audience: 'agent',
      candidate: true,
      effective: true,
      description: 'Ordered HTTP proxies {url, credential?}; the credential names a secret, a URL has no user info.',
    },
  ),
  proxyFallbackDirect: booleanSetting({
    default: true,
    audience: 'agent',
    candidate: true,
    effective: true,
    description: 'Whether the agent connects directly when every proxy fails.',
  }),
  eventRateLimitPerMinute: integerSetting('eventsPerMinute', [0, 100_000], {
    default: 600,
    audience: 'manager',
    effective: true,
    description: 'Limit on newly produced events by minute of occurrence; 0 accepts only the lane control.',
  }),
  spoolMaxMegabytes: integerSetting('megabytes', [1, 65_536], {
    default: 256,
    audience: 'agent',
    effective: true,
    description: "Bound of the agent's spool on disk; the oldest is dropped with a counted gap event.",
  }),
  componentsWatched: listSetting(
    listOf(watchedComponent, ({ kind, name }) => `${kind} ${name}`),
    {
      default: [],
      audience: 'agent',
      effective: true,
      description: 'Components {name, kind, match} whose state each report carries.',
    },
  ),
  firewallRules: listSetting(
    boundedRules(listOf(firewallRule, (rule) => canonicalJson(rule as unknown as JsonValue))),
    {
      default: [],
      audience: 'agent',
      candidate: true,
      effective: true,
      description:
        'Rules {action, priority, direction, frameType, protocol, source, destination} of the host firewall, by priority.',
    },
  ),
  maintenanceWindows: listSetting(
    listOf(maintenanceWindow, ({ cron, durationMinutes, timeZone }) => `${cron} ${durationMinutes} ${timeZone}`),
    {
      default: [],
      audience: 'manager',
      effective: true,
      description: 'Windows {cron, durationMinutes, timeZone} inside which nothing is notified.',
    },
  ),
  certificateLifetimeDays: integerSetting('days', [1, 397], {
    default: 30,
    stricter: 'less',
    audience: 'both',
    effective: true,
    description: 'Lifetime of the certificates issued to the computer.',
  }),
  renewAfterExpiryDays: integerSetting('days', [0, 365], {
    default: 7,
    stricter: 'less',
    audience: 'both',
    effective: true,
    description: 'How long after its expiry a certificate may still be renewed with the same key.',
  }),
  certificateExpiryAlertDays: integerSetting('days', [1, 90], {
    default: 7,
    stricter: 'more',
    audience: 'manager',
    effective: true,
    description:
      'How long before its expiry a certificate that was not renewed raises an alert; within its last third at most.',
  }),
  cleanupAfterDays: unlimitedSetting('days', [2, 365], {
    default: UNLIMITED,
    audience: 'manager',
    description: 'Computers silent for that long are forgotten.',
  }),
};

export const SETTING_KEYS: readonly SettingKey[] = Object.freeze(Object.keys(SETTINGS_CATALOGUE) as SettingKey[]);

export function isSettingKey(key: string): key is SettingKey {
  return Object.hasOwn(SETTINGS_CATALOGUE, key);
}

/** The catalogue's defaults: what a root other than the Base Policy falls back to, and what that one starts with. */
export function catalogueDefaults(): SettingValues {
  const values = SETTING_KEYS.map((key) => [key, SETTINGS_CATALOGUE[key].default]);
  return Object.fromEntries(values) as unknown as SettingValues;
}

/** The faults of a value for a key, none if it may be stored; `pointer` is where the value stands in the body. */
export function validateSetting(key: SettingKey, value: unknown, pointer = `#/${key}`): FieldError[] {
  const errors: FieldError[] = [];
  SETTINGS_CATALOGUE[key].schema(value, pointer, errors);
  return errors;
}

/** The catalogue as GET /settings-catalogue shows it. */
export function describeCatalogue(): SettingDescription[] {
  return SETTING_KEYS.map((key) => {
    const { schema: _schema, ...description } = SETTINGS_CATALOGUE[key];
    return { key, ...description };
  });
}

/** Whether a policy may lock the key that way: `tightenOnly` needs an order. */
export function isLockable(key: SettingKey, mode: LockMode): boolean {
  return mode === 'locked' || SETTINGS_CATALOGUE[key].stricter !== null;
}

/** Whether `value` is at least as strict as `bound`. Where the key has no order, only an equal value is. */
export function isAtLeastAsStrict<K extends SettingKey>(key: K, value: SettingValues[K], bound: SettingValue): boolean {
  const { stricter } = SETTINGS_CATALOGUE[key];
  if (stricter === 'true') return value === true || bound === false;
  if (stricter === 'less') return magnitude(value) <= magnitude(bound);
  if (stricter === 'more') return magnitude(value) >= magnitude(bound);
  return JSON.stringify(value) === JSON.stringify(bound);
}

function magnitude(value: SettingValue): number {
  return value === UNLIMITED ? Number.POSITIVE_INFINITY : Number(value);
}
