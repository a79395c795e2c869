import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { invalidFields, type FieldError } from '../../lib/problem.js';
import { isSound } from '../../lib/schema.js';
import { addressFault } from '../computers/computer-rules.js';
import type {
  ChannelSecrets,
  ChannelType,
  EmailSettings,
  Facility,
  HookSettings,
  MailSecurity,
  SyslogProtocol,
  SyslogSettings,
  TypedSettings,
} from './channel.js';

/** What a request may say of a channel beside its name and type; null takes away what may be absent. */
export interface ChannelMembers {
  readonly host?: string;
  readonly port?: number;
  readonly security?: MailSecurity;
  readonly user?: string | null;
  readonly password?: string | null;
  readonly from?: string;
  readonly to?: readonly string[];
  readonly url?: string;
  readonly protocol?: SyslogProtocol;
  readonly facility?: Facility;
  readonly caPem?: string | null;
}

type Member = keyof ChannelMembers;

const MEMBERS: Readonly<
  Record<ChannelType, { readonly needed: readonly Member[]; readonly others: readonly Member[] }>
> = {
  email: { needed: ['host', 'from', 'to'], others: ['port', 'security', 'user', 'password', 'caPem'] },
  webhook: { needed: ['url'], others: ['caPem'] },
  slack: { needed: ['url'], others: ['caPem'] },
  syslog: { needed: ['host', 'protocol'], others: ['port', 'facility', 'caPem'] },
};

const MAIL_PORTS: Readonly<Record<MailSecurity, number>> = { starttls: 587, tls: 465, none: 25 };
const SYSLOG_PORTS: Readonly<Record<SyslogProtocol, number>> = { udp: 514, tcp: 514, tls: 6514 };

export interface SettledChannel {
  readonly typed: TypedSettings;
  readonly secrets: ChannelSecrets;
}

/** What a channel of this type is to be, its defaults filled in. Throws `request-invalid` with every fault. */
export function settleChannel(type: ChannelType, given: ChannelMembers): SettledChannel {
  const present = without(given, undefined);
  const faults: FieldError[] = [];
  for (const found of [typeFaults(type, present), valueFaults(present), togetherFaults(type, present)])
    faults.push(...found.filter(({ pointer }) => isSound(faults, pointer)));
  if (faults.length > 0) throw invalidFields(faults);
  return SETTLE[type](present);
}

/** What a channel of the type must not have, and what it lacks. */
export function typeFaults(type: ChannelType, given: ChannelMembers): readonly FieldError[] {
  const missing = MEMBERS[type].needed.filter((key) => (given[key] ?? null) === null);
  return [
    ...foreignFaults(type, given),
    ...missing.map((key) => ({ pointer: `#/${key}`, detail: `is required for a channel of type ${type}` })),
  ];
}

/** What a channel of the type must not have. */
export function foreignFaults(type: ChannelType, given: ChannelMembers): readonly FieldError[] {
  const { needed, others } = MEMBERS[type];
  return Object.entries(given)
    .filter(([key, value]) => value !== undefined && ![...needed, ...others].includes(key as Member))
    .map(([key]) => ({ pointer: `#/${key}`, detail: `is not for a channel of type ${type}` }));
}

/** The members that `togetherFaults` looks at. */
export const MEMBERS_TOGETHER = ['security', 'protocol', 'user', 'password', 'caPem'] as const;

/** What does not go together, each being what it should be. */
export function togetherFaults(
  type: ChannelType,
  { security = 'starttls', protocol, user, password, caPem }: ChannelMembers,
): readonly FieldError[] {
  const usesTls = type === 'syslog' ? protocol === 'tls' : security !== 'none';
  const isHalf = type === 'email' && (typeof user === 'string') !== (typeof password === 'string');
  return [
    ...(typeof caPem === 'string' && !usesTls ? [{ pointer: '#/caPem', detail: 'is of use with TLS only' }] : []),
    ...(isHalf
      ? [
          {
            pointer: typeof user === 'string' ? '#/password' : '#/user',
            detail: 'must be given together with the other one',
          },
        ]
      : []),
  ];
}

/** The same after a change: absent keeps what is. A password is not handed to another receiver than it was given for. */
export function changeChannel(before: SettledChannel, change: ChannelMembers): SettledChannel {
  const { type } = before.typed;
  const known = membersOf(before);
  const keepsPassword = known.password !== undefined && known.password !== null && change.password === undefined;
  const isAnonymous = change.user === null || change.password === null;
  const dropped = isAnonymous ? { user: null, password: null } : {};
  const after = settleChannel(type, without({ ...known, ...without(change, undefined), ...dropped }, null));
  const moved = keepsPassword && !isAnonymous && isElsewhere(before.typed, after.typed);
  if (moved)
    throw invalidFields([
      { pointer: '#/password', detail: 'must be given again where host, port, security or caPem change' },
    ]);
  return { ...after, secrets: { ...signingOf(before.secrets), ...after.secrets } };
}

function signingOf({ password: _password, url: _url, ...signing }: ChannelSecrets): ChannelSecrets {
  return signing;
}

function membersOf({ typed, secrets }: SettledChannel): ChannelMembers {
  const { password, url } = secrets;
  const { origin: _origin, ...members } = { origin: '', ...typed.settings };
  return without({ ...members, password, url } as ChannelMembers, undefined);
}

function isElsewhere(before: TypedSettings, after: TypedSettings): boolean {
  if (before.type !== 'email' || after.type !== 'email') return false;
  const place = ({ host, port, security, caPem }: EmailSettings): string =>
    JSON.stringify([host.toLowerCase(), port, security, caPem]);
  return place(before.settings) !== place(after.settings);
}

function without(members: ChannelMembers, unwanted: null | undefined): ChannelMembers {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== unwanted));
}

type Settle = (given: ChannelMembers) => SettledChannel;

const SETTLE: Readonly<Record<ChannelType, Settle>> = {
  email({ host = '', security = 'starttls', port = MAIL_PORTS[security], user, password, from = '', to = [], caPem }) {
    const settings: EmailSettings = { host, port, security, user: user ?? null, from, to, caPem: caPem ?? null };
    const isSignedIn = typeof user === 'string' && typeof password === 'string';
    return { typed: { type: 'email', settings }, secrets: isSignedIn ? { password } : {} };
  },
  webhook: (given) => ({ typed: { type: 'webhook', settings: hookOf(given) }, secrets: { url: given.url ?? '' } }),
  slack: (given) => ({ typed: { type: 'slack', settings: hookOf(given) }, secrets: { url: given.url ?? '' } }),
  syslog({ host = '', protocol = 'tls', port = SYSLOG_PORTS[protocol], facility = 'local0', caPem }) {
    const settings: SyslogSettings = { host, port, protocol, facility, caPem: caPem ?? null };
    return { typed: { type: 'syslog', settings }, secrets: {} };
  },
};

function hookOf({ url = '', caPem }: ChannelMembers): HookSettings {
  return { origin: new URL(url).origin, caPem: caPem ?? null };
}

function valueFaults({ host, url, caPem }: ChannelMembers): FieldError[] {
  const faults: Readonly<Partial<Record<Member, string | undefined>>> = {
    host: host === undefined ? undefined : hostFault(host),
    url: url === undefined ? undefined : urlFault(url),
    caPem: typeof caPem === 'string' ? caFault(caPem) : undefined,
  };
  return Object.entries(faults).flatMap(([member, detail]) =>
    detail === undefined ? [] : [{ pointer: `#/${member}`, detail }],
  );
}

/** A name, an IPv4 address as it is written, or an IPv6 address; without a port, without a zone. */
export function hostFault(host: string): string | undefined {
  const isAddress = isIP(host) !== 0 && !host.includes('%');
  if (isAddress) return undefined;
  const says = 'must be a name, an IPv4 or an IPv6 address, without a port';
  return /[:[\]]/.test(host) || addressFault(host) !== undefined ? says : undefined;
}

export function urlFault(text: string): string | undefined {
  const says = 'must be an https URL without user, password and fragment';
  if (!URL.canParse(text)) return says;
  const { protocol, username, password, hash } = new URL(text);
  return protocol === 'https:' && username === '' && password === '' && hash === '' ? undefined : says;
}

export function caFault(pem: string): string | undefined {
  const says = 'must be one or more certificates in PEM, and nothing else';
  if (pem.includes('PRIVATE KEY')) return `${says}: it holds a private key`;
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.length > 0 && blocks.every(isCertificate) ? undefined : says;
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}

/** An address as `user@host`, in printable ASCII: what nothing can be hidden in. */
export function mailAddressFault(value: unknown): string | undefined {
  const isAddress =
    typeof value === 'string' &&
    value.length <= 254 &&
    /^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(value);
  return isAddress ? undefined : 'must be an address like ops@example.org';
}

export const RECIPIENTS_MAX = 50;

/** Where a channel sends to, as people may see it. */
export function targetOf({ type, settings }: TypedSettings): string {
  if (type === 'email') return `${settings.to.join(', ')} by ${hostPort(settings)}`;
  if (type === 'syslog') return `${settings.protocol}://${hostPort(settings)}`;
  return settings.origin;
}

export function hostPort({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
