import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import type { LevelWithSilent } from 'pino';
import { SECOND_FACTOR_FOR, type AccessRules } from './access/access-rules.js';
import { EnvironmentReader, type Environment } from './environment-reader.js';

/** The manager's configuration, fully defaulted and frozen. Secrets live apart. */
export interface Config {
  readonly dataDir: string;
  readonly node: string;
  readonly adminHost: string;
  readonly adminPort: number;
  readonly adminOrigin: string | undefined;
  readonly adminTls: { readonly certPath: string; readonly keyPath: string } | undefined;
  /** Undefined: all addresses. */
  readonly agentHost: string | undefined;
  readonly agentPort: number;
  readonly publicHosts: readonly string[];
  readonly logLevel: LevelWithSilent;
  readonly trustDomain: string;
  readonly roles: ReadonlySet<ManagerRole>;
  readonly enrollPerAddressPerSecond: number;
  readonly enrollTotalPerSecond: number;
  /** Where agents may be dialled; undefined: private networks. */
  readonly dialAllowedCidrs: readonly string[] | undefined;
  /** How long SIGTERM tells agents when to come back before ports close; 0: not at all. */
  readonly drainSeconds: number;
  /** Whether a start with a certificate that ends within a day is wanted all the same. */
  readonly allowExpiringCertificate: boolean;
  /** Where notifications may be sent; undefined: anywhere but loopback, link-local and other special addresses. */
  readonly notifyAllowedCidrs: readonly string[] | undefined;
  readonly access: AccessRules;
}

/** Agents come back after that long at the latest, whatever they are told. */
export const LONGEST_DRAIN_SECONDS = 900;

/** Thirty days. */
const MOST_SESSION_MINUTES = 43_200;

export const MANAGER_ROLES = ['agents', 'admin', 'jobs'] as const;
export type ManagerRole = (typeof MANAGER_ROLES)[number];

/** What must never reach a log: `toJSON` and `util.inspect` redact it. */
export class Secrets {
  readonly databaseUrl: string | undefined;
  readonly databaseOwnerUrl: string | undefined;
  readonly adminPassword: string | undefined;
  /** Its path is often the only credential of a checker. */
  readonly deadManUrl: string | undefined;

  constructor(values: {
    databaseUrl?: string | undefined;
    databaseOwnerUrl?: string | undefined;
    adminPassword?: string | undefined;
    deadManUrl?: string | undefined;
  }) {
    this.databaseUrl = values.databaseUrl;
    this.databaseOwnerUrl = values.databaseOwnerUrl ?? values.databaseUrl;
    this.adminPassword = values.adminPassword;
    this.deadManUrl = values.deadManUrl;
  }

  toJSON(): string {
    return '[redacted]';
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return 'Secrets [redacted]';
  }
}

/** A start that the configuration forbids: every fault is listed. */
export class ConfigurationError extends Error {
  constructor(readonly faults: readonly string[]) {
    super(
      `The configuration has ${faults.length === 1 ? 'a fault' : `${faults.length} faults`}:\n- ${faults.join('\n- ')}`,
    );
    this.name = 'ConfigurationError';
  }
}

const NAMES = [
  'DATA_DIR',
  'NODE',
  'ADMIN_HOST',
  'ADMIN_PORT',
  'ADMIN_TLS_CERT',
  'ADMIN_TLS_KEY',
  'AGENT_HOST',
  'AGENT_PORT',
  'PUBLIC_HOSTS',
  'ADMIN_PASSWORD',
  'ADMIN_PASSWORD_FILE',
  'LOG_LEVEL',
  'TRUST_DOMAIN',
  'ADMIN_ORIGIN',
  'ROLES',
  'ENROLL_PER_ADDRESS',
  'ENROLL_TOTAL',
  'DIAL_ALLOWED_CIDRS',
  'DRAIN_SECONDS',
  'DEADMAN_URL',
  'DEADMAN_URL_FILE',
  'NOTIFY_ALLOWED_CIDRS',
  'ALLOW_EXPIRING_CERTIFICATE',
  'SESSION_IDLE_MINUTES',
  'SESSION_LIFETIME_MINUTES',
  'SECOND_FACTOR_FOR',
].map((name) => `WARDBEAT_${name}`);
/** Read by the agent and by the tests; no fault in the manager's environment. */
const OTHERS = [
  'WARDBEAT_ENROLLMENT_TOKEN',
  'WARDBEAT_ENROLLMENT_TOKEN_FILE',
  'WARDBEAT_TEST_DATABASE',
  'WARDBEAT_TEST_KILLS',
  'WARDBEAT_TEST_AWAY_SECONDS',
];

/** The manager's environment, or ConfigurationError with every fault. */
export function readConfig(env: Environment = process.env): { readonly config: Config; readonly secrets: Secrets } {
  const faults: string[] = [];
  const reader = new EnvironmentReader(env, faults);
  faults.push(...unknownNames(env));
  const config = parseConfig(reader);
  const secrets = new Secrets({
    databaseUrl: reader.secret('DATABASE_URL', DATABASE_URL),
    databaseOwnerUrl: reader.secret('DATABASE_OWNER_URL', DATABASE_URL),
    adminPassword: reader.secret('WARDBEAT_ADMIN_PASSWORD', PASSWORD),
    deadManUrl: reader.secret('WARDBEAT_DEADMAN_URL', HTTP_URL),
  });
  faults.push(...combinationFaults(config, secrets));
  if (faults.length > 0) throw new ConfigurationError(faults);
  return { config: Object.freeze(config), secrets };
}

function parseConfig(reader: EnvironmentReader): Config {
  return {
    dataDir: resolve(reader.text('WARDBEAT_DATA_DIR', 'data')),
    node: reader.matching('WARDBEAT_NODE', defaultNode(), {
      pattern: /^[a-z0-9][a-z0-9.-]{0,62}$/,
      says: 'a lower-case host-like name',
    }),
    adminHost: reader.host('WARDBEAT_ADMIN_HOST') ?? '127.0.0.1',
    adminPort: reader.port('WARDBEAT_ADMIN_PORT', 4119),
    adminOrigin: reader.origin('WARDBEAT_ADMIN_ORIGIN'),
    adminTls: reader.tlsFiles('WARDBEAT_ADMIN_TLS_CERT', 'WARDBEAT_ADMIN_TLS_KEY'),
    agentHost: reader.host('WARDBEAT_AGENT_HOST'),
    agentPort: reader.port('WARDBEAT_AGENT_PORT', 4120),
    publicHosts: reader.hosts('WARDBEAT_PUBLIC_HOSTS'),
    logLevel: reader.choice('WARDBEAT_LOG_LEVEL', 'info', ['silent', 'error', 'warn', 'info', 'debug', 'trace']),
    trustDomain: reader.matching('WARDBEAT_TRUST_DOMAIN', 'wardbeat.internal', {
      pattern: /^[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?$/,
      says: 'a lower-case SPIFFE trust domain',
    }),
    roles: new Set(reader.choices('WARDBEAT_ROLES', MANAGER_ROLES)),
    enrollPerAddressPerSecond: reader.rate('WARDBEAT_ENROLL_PER_ADDRESS', 1),
    enrollTotalPerSecond: reader.rate('WARDBEAT_ENROLL_TOTAL', 10),
    dialAllowedCidrs: reader.cidrs('WARDBEAT_DIAL_ALLOWED_CIDRS'),
    drainSeconds: reader.integer('WARDBEAT_DRAIN_SECONDS', 0, LONGEST_DRAIN_SECONDS),
    allowExpiringCertificate:
      reader.choice('WARDBEAT_ALLOW_EXPIRING_CERTIFICATE', 'false', ['true', 'false']) === 'true',
    notifyAllowedCidrs: reader.cidrs('WARDBEAT_NOTIFY_ALLOWED_CIDRS'),
    access: {
      sessionIdleMs: reader.minutes('WARDBEAT_SESSION_IDLE_MINUTES', 480, MOST_SESSION_MINUTES) * 60_000,
      sessionLifetimeMs: reader.minutes('WARDBEAT_SESSION_LIFETIME_MINUTES', 1440, MOST_SESSION_MINUTES) * 60_000,
      secondFactorFor: reader.choice('WARDBEAT_SECOND_FACTOR_FOR', 'nobody', SECOND_FACTOR_FOR),
    },
  };
}

/** What each value allows by itself, but not together. */
function combinationFaults(config: Config, { databaseUrl, databaseOwnerUrl }: Secrets): string[] {
  const { adminPort, agentPort, roles } = config;
  const faults: string[] = [];
  if (adminPort === agentPort && adminPort !== 0 && overlap(config))
    faults.push(`WARDBEAT_ADMIN_PORT and WARDBEAT_AGENT_PORT must differ: both are ${adminPort} on the same address`);
  if (roles.size < MANAGER_ROLES.length && databaseUrl === undefined)
    faults.push(
      'WARDBEAT_ROLES must name all roles without DATABASE_URL: no other process can share the embedded database',
    );
  if (databaseUrl === undefined && databaseOwnerUrl !== undefined)
    faults.push('DATABASE_URL must be given together with DATABASE_OWNER_URL');
  return faults;
}

/** Whether both ports are bound on an address in common; a name may be any address. */
function overlap({ adminHost, agentHost }: Config): boolean {
  if (agentHost === undefined || [adminHost, agentHost].some((host) => host === '0.0.0.0' || host === '::'))
    return true;
  return adminHost === agentHost || isIP(adminHost) === 0 || isIP(agentHost) === 0;
}

function defaultNode(): string {
  const name = hostname()
    .toLowerCase()
    .replaceAll(/[^a-z0-9.-]/g, '-')
    .replace(/^[^a-z0-9]+/, '')
    .slice(0, 63);
  return name === '' ? 'manager' : name;
}

function unknownNames(env: Environment): string[] {
  const known = new Set([...NAMES, ...OTHERS]);
  return Object.keys(env)
    .filter((name) => name.startsWith('WARDBEAT_') && !known.has(name))
    .map((name) => `${name} is not a setting of the manager; the README lists them`);
}

const PASSWORD = {
  says: 'from 8 to 1024 characters',
  accepts: (text: string) => text.length >= 8 && text.length <= 1024,
};
const DATABASE_URL = {
  says: 'a URL like postgres://user@host/database',
  accepts: (text: string) => URL.canParse(text) && ['postgres:', 'postgresql:'].includes(new URL(text).protocol),
};
const HTTP_URL = {
  says: 'an http or https URL',
  accepts: (text: string) => URL.canParse(text) && ['http:', 'https:'].includes(new URL(text).protocol),
};
