import { IsArray, IsString } from 'class-validator';
import { Integer, Name, OneOf, Optional, OptionalOrNull, Schema, Text, Uuid } from '../admin-api/dto.js';
import { Refined } from '../admin-api/refined.js';
import { Checked, CheckedList, Instant, Shown } from '../admin-api/shown.js';
import { PageQuery } from '../admin-api/page.js';
import {
  CHANNEL_TYPES,
  FACILITIES,
  MAIL_SECURITIES,
  SYSLOG_PROTOCOLS,
  type ChannelType,
  type Facility,
  type MailSecurity,
  type SyslogProtocol,
} from './channel.js';
import {
  caFault,
  hostFault,
  mailAddressFault,
  MEMBERS_TOGETHER,
  RECIPIENTS_MAX,
  togetherFaults,
  typeFaults,
  urlFault,
} from './channel-rules.js';

const NAME = { max: 128 };
const HOST = { min: 1, max: 253 };
const USER = { min: 1, max: 256 };
const PASSWORD = { min: 1, max: 1024 };
const URL_TEXT = { min: 1, max: 2048 };
const CA = { min: 1, max: 16_384, multiline: true };
const ADDRESS = { type: 'string', format: 'email' };
const ADDRESSES = { type: 'array', items: ADDRESS };
const LAST_PORT = 65_535;

export class ChannelsQuery extends PageQuery {}

/** Of a text alone: what is none is named by what asks for one. */
function textual(faultOf: (text: string) => string | undefined) {
  return (value: unknown) => (typeof value === 'string' ? faultOf(value) : undefined);
}

/** What every type may have; which of them a type has, docs/notifications.md says. */
class ChannelMembersBody {
  /** E-mail and syslog. */
  @Optional()
  @Checked('isHost', textual(hostFault))
  @Text(HOST)
  host?: string;

  /** E-mail: 587 with STARTTLS, 465 with TLS, 25 without; syslog: 514, with TLS 6514. */
  @Optional()
  @Integer(1, LAST_PORT)
  port?: number;

  /** E-mail: `starttls` unless given. */
  @Optional()
  @OneOf(...MAIL_SECURITIES)
  security?: MailSecurity;

  @OptionalOrNull()
  @Text(USER)
  user?: string | null;

  /** Never answered. */
  @OptionalOrNull()
  @Text(PASSWORD)
  password?: string | null;

  @Optional()
  @Checked('isMailAddress', mailAddressFault)
  @Shown(ADDRESS)
  from?: string;

  @Optional()
  @CheckedList('isRecipients', {
    min: 1,
    max: RECIPIENTS_MAX,
    says: `must be a list of 1 to ${RECIPIENTS_MAX} addresses`,
    faultOf: mailAddressFault,
  })
  @Shown(ADDRESSES)
  to?: string[];

  /** Webhook and slack: https only. Never answered but for its origin. */
  @Optional()
  @Checked('isHookUrl', textual(urlFault))
  @Text(URL_TEXT)
  url?: string;

  @Optional()
  @OneOf(...SYSLOG_PROTOCOLS)
  protocol?: SyslogProtocol;

  /** Syslog: `local0` unless given. */
  @Optional()
  @OneOf(...FACILITIES)
  facility?: Facility;

  /** Certificates in PEM that are trusted instead of the public authorities. */
  @OptionalOrNull()
  @Checked('isCa', textual(caFault))
  @Text(CA)
  caPem?: string | null;
}

@Refined<CreateChannelBody>(['type'], ({ type, name: _name, ...members }) => typeFaults(type, members))
@Refined<CreateChannelBody>(['type', ...MEMBERS_TOGETHER], ({ type, ...members }) => togetherFaults(type, members))
export class CreateChannelBody extends ChannelMembersBody {
  @Name(NAME)
  name!: string;

  @OneOf(...CHANNEL_TYPES)
  type!: ChannelType;
}

export class PatchChannelBody extends ChannelMembersBody {
  @Optional()
  @Name(NAME)
  name?: string;
}

export class ChannelReply {
  @Uuid()
  id!: string;

  @Text(NAME)
  name!: string;

  @OneOf(...CHANNEL_TYPES)
  type!: ChannelType;

  @Schema({ description: 'where it sends to, without what is secret' })
  @Text({ max: 16_384 })
  target!: string;

  @Optional()
  @Text(HOST)
  host?: string;

  @Optional()
  @Integer(1, LAST_PORT)
  port?: number;

  @Optional()
  @OneOf(...MAIL_SECURITIES)
  security?: MailSecurity;

  @Optional()
  @Shown({ type: ['string', 'null'] })
  user?: string | null;

  @Optional()
  @IsString()
  from?: string;

  @Optional()
  @IsArray()
  @Shown(ADDRESSES)
  to?: readonly string[];

  @Schema({ description: 'of the URL, which itself is never answered' })
  @Optional()
  @IsString()
  origin?: string;

  @Optional()
  @OneOf(...SYSLOG_PROTOCOLS)
  protocol?: SyslogProtocol;

  @Optional()
  @OneOf(...FACILITIES)
  facility?: Facility;

  @Shown({ type: ['string', 'null'] })
  caPem!: string | null;

  @Integer(1, Number.MAX_SAFE_INTEGER)
  revision!: number;

  @Instant()
  createdAt!: string;

  @Text({ max: 256 })
  createdBy!: string;

  @Instant()
  updatedAt!: string;

  @Shown({ type: ['string', 'null'], format: 'date-time' })
  lastDeliveredAt!: string | null;

  @Shown({ type: ['string', 'null'], format: 'date-time' })
  lastFailedAt!: string | null;

  @Shown({ type: ['string', 'null'], description: 'of the last attempt; null when it was delivered to everybody' })
  lastError!: string | null;
}

const SIGNING = { description: "whsec_…, shown this once; verifies the receiver's webhook-signature" };

export class CreatedChannelReply extends ChannelReply {
  @Schema(SIGNING)
  @Optional()
  @Text({ max: 128 })
  signingSecret?: string;
}

export class RotatedSecretReply {
  @Schema(SIGNING)
  @Text({ max: 128 })
  signingSecret!: string;

  @Schema({ type: 'string', format: 'date-time', description: 'until then messages are signed with both' })
  @Text({ max: 32 })
  previousValidUntil!: string;
}

export class ChannelTestReply {
  @Shown({ type: 'boolean' })
  delivered!: boolean;

  @Shown({
    type: ['string', 'null'],
    description: 'a code of docs/notifications.md; null when it was delivered to everybody',
  })
  code!: string | null;

  @Shown({ type: ['string', 'null'] })
  error!: string | null;

  @Integer(0, Number.MAX_SAFE_INTEGER)
  durationMs!: number;
}
