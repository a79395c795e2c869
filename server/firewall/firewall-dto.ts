import { IsArray, IsObject } from 'class-validator';
import {
  FIREWALL_ACTIONS,
  FIREWALL_DIRECTIONS,
  FRAME_TYPES,
  HIGHEST_PRIORITY,
  type FirewallEndpoint,
  type IsolationPeer,
} from '../../policies/firewall-rules.js';
import type { ClosedDirection } from '../../policies/firewall-set.js';
import { refTo } from '../admin-api/dto-schemas.js';
import { Integer, OneOf, Text, Uuid } from '../admin-api/dto.js';
import { Shown } from '../admin-api/shown.js';

const PORTS = { type: 'array', items: { type: ['integer', 'string'] } };
const TEXTS = { type: 'array', items: { type: 'string' } };
const ENDPOINT = {
  type: 'object',
  properties: { ip: TEXTS, mac: TEXTS, ports: PORTS },
  required: ['ip', 'mac', 'ports'],
  additionalProperties: false,
};
const NULLABLE_TEXT = { type: ['string', 'null'] };
const MOST_RULES = 1000;
const FIREWALL_STATES = ['applied', 'pending', 'failed', 'isolated', 'unsupported', 'unknown'] as const;

export class EffectiveFirewallRuleDto {
  /** The first rule that matches decides. */
  @Integer(1, MOST_RULES)
  order!: number;

  @Shown(NULLABLE_TEXT)
  name!: string | null;

  @OneOf(...FIREWALL_ACTIONS)
  action!: string;

  @Integer(0, HIGHEST_PRIORITY)
  priority!: number;

  @OneOf(...FIREWALL_DIRECTIONS)
  direction!: string;

  @OneOf(...FRAME_TYPES)
  frameType!: string;

  /** A name or a number. */
  @Shown({ type: ['string', 'integer'] })
  protocol!: string | number;

  /** Empty lists match everything. */
  @IsObject()
  @Shown(ENDPOINT)
  source!: Required<FirewallEndpoint>;

  @IsObject()
  @Shown(ENDPOINT)
  destination!: Required<FirewallEndpoint>;

  /** Not of the setting: made for the agent's listener, until a rule of the setting stands in for it. */
  @Shown({ type: 'boolean' })
  hidden!: boolean;
}

export class FirewallDto {
  @Uuid()
  computerId!: string;

  /**
   * `applied`: these rules are in force. `pending`: others are, by the agent's last word. `failed`: these could not be
   * loaded, the former are in force. `isolated`: none of them counts until that ends. `unsupported`: nothing can be loaded
   * there. `unknown`: the agent has not said.
   */
  @OneOf(...FIREWALL_STATES)
  state!: (typeof FIREWALL_STATES)[number];

  @Shown(NULLABLE_TEXT)
  detail!: string | null;

  @IsObject()
  @Shown({ type: 'object', additionalProperties: true })
  digest!: { desired: string; applied: string | null };

  /** Where the agent waits for its manager; null where it does not. */
  @Shown({ type: ['integer', 'null'] })
  listenerPort!: number | null;

  /** Where an allow rule is, everything that no rule lets pass is dropped. */
  @IsObject()
  @Shown({ type: 'object', additionalProperties: true })
  closed!: Readonly<Record<'incoming' | 'outgoing', ClosedDirection>>;

  @IsArray()
  @Shown({ type: 'array', items: refTo(EffectiveFirewallRuleDto) })
  rules!: readonly EffectiveFirewallRuleDto[];

  /**
   * While it is isolated, only its manager is left to it, and whom the last command to isolate it allows beside. `since` is
   * the first that was not ended before the next; `by` is who ordered the last. `by` and `allow` are null where the command
   * is forgotten.
   */
  @Shown({ type: ['object', 'null'], additionalProperties: true })
  isolated!: {
    since: string;
    commandId: string;
    by: string | null;
    allow: readonly IsolationPeer[] | null;
  } | null;
}

export class ReleaseCodeDto {
  /** The command that isolated the computer. */
  @Uuid()
  commandId!: string;

  /** Ends this isolation once, and no other. */
  @Text({ max: 64 })
  code!: string;

  /** What to type at the computer. */
  @Text({ max: 256 })
  command!: string;
}
