import type { FleetInstant } from '../fleet-clock/fleet-clock.js';

export const CHANNEL_TYPES = ['email', 'webhook', 'slack', 'syslog'] as const;
export type ChannelType = (typeof CHANNEL_TYPES)[number];

/** `starttls`: nothing is sent before TLS is up; `tls`: from the first byte; `none`: in the clear, only by explicit choice. */
export const MAIL_SECURITIES = ['starttls', 'tls', 'none'] as const;
export type MailSecurity = (typeof MAIL_SECURITIES)[number];

export const SYSLOG_PROTOCOLS = ['udp', 'tcp', 'tls'] as const;
export type SyslogProtocol = (typeof SYSLOG_PROTOCOLS)[number];

/** RFC 5424, section 6.2.1, by their numbers. */
export const FACILITIES = [
  'kern',
  'user',
  'mail',
  'daemon',
  'auth',
  'syslog',
  'lpr',
  'news',
  'uucp',
  'cron',
  'authpriv',
  'ftp',
  'ntp',
  'audit',
  'alert',
  'clock',
  'local0',
  'local1',
  'local2',
  'local3',
  'local4',
  'local5',
  'local6',
  'local7',
] as const;
export type Facility = (typeof FACILITIES)[number];

export interface EmailSettings {
  readonly host: string;
  readonly port: number;
  readonly security: MailSecurity;
  readonly user: string | null;
  readonly from: string;
  readonly to: readonly string[];
  readonly caPem: string | null;
}

/** The URL itself is a secret: many services put a token into it. */
export interface HookSettings {
  readonly origin: string;
  readonly caPem: string | null;
}

export interface SyslogSettings {
  readonly host: string;
  readonly port: number;
  readonly protocol: SyslogProtocol;
  readonly facility: Facility;
  readonly caPem: string | null;
}

export type TypedSettings =
  | { readonly type: 'email'; readonly settings: EmailSettings }
  | { readonly type: 'webhook'; readonly settings: HookSettings }
  | { readonly type: 'slack'; readonly settings: HookSettings }
  | { readonly type: 'syslog'; readonly settings: SyslogSettings };

/** What is stored sealed. */
export interface ChannelSecrets {
  readonly password?: string;
  readonly url?: string;
  /** `whsec_` and base64 (Standard Webhooks). */
  readonly signingSecret?: string;
  /** Signs beside the new one for a day after a rotation. */
  readonly previousSigningSecret?: string;
  readonly previousUntil?: FleetInstant;
}

export type Channel = TypedSettings & {
  readonly id: string;
  readonly name: string;
  readonly revision: number;
  readonly createdAt: Date;
  readonly createdBy: string;
  readonly updatedAt: Date;
  readonly deliveredAt: FleetInstant | null;
  readonly failedAt: FleetInstant | null;
  readonly lastError: string | null;
  /** As `SecretBox` sealed them. */
  readonly secrets: Buffer;
};
