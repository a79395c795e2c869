import { isIP } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { extendWithComputer, type ResolvedSettings } from '../../policies/resolve-settings.js';
import type { FieldError } from '../../lib/problem.js';
import { isPlainObject } from '../../lib/schema.js';
import { lengthInCodePoints } from '../../lib/shown-name.js';
import type { SettingOverrides } from '../../policies/setting-values.js';
import type { PowerState } from '../../policies/status-model.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import { verdictRulesOf } from '../policies/computer-settings.js';
import type { MemberFault } from '../admin-api/shown.js';
import type { Computer, Labels, Power } from './computer.js';

export const LABELS_MAX = 64;
export const LABEL_VALUE_MAX = 255;
const LABEL_KEY = /^[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$/;
const HOST_LABEL = /^(?!-)[A-Za-z0-9_-]{1,63}(?<!-)$/;
const HOST_MAX = 253;
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

/** What is wrong with `host[:port]` (a name, an IPv4 address, or an IPv6 address in brackets); undefined if nothing. */
export function addressFault(text: string): string | undefined {
  const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(\d{1,5}))?$/.exec(text) ?? [];
  if (port !== undefined && (Number(port) < 1 || Number(port) > 65_535)) return 'must have a port from 1 to 65535';
  if (bracketed !== undefined) return isIpv6(bracketed) ? undefined : 'must hold an IPv6 address in the brackets';
  return plain !== undefined && isHost(plain)
    ? undefined
    : 'must be host[:port]: a name, an IPv4 address, or an IPv6 address in brackets';
}

/** Without a zone: that names an interface of the manager's. */
function isIpv6(text: string): boolean {
  return isIP(text) === 6 && !text.includes('%');
}

/** Resolvers take `0x7f.1` and `0177.1` for addresses: what looks like a number must be one as it is written. */
function isHost(text: string): boolean {
  if (/(?:^|\.)(?:\d+|0x[0-9a-f]*)\.?$/i.test(text)) return isIP(text) === 4;
  const name = text.endsWith('.') ? text.slice(0, -1) : text;
  return name.length <= HOST_MAX && name.split('.').every((label) => HOST_LABEL.test(label));
}

/** What is wrong with labels, each by its key; `nullable` for a merge patch, where null takes a label away. */
export function labelsFaults(value: unknown, { nullable = false } = {}): readonly MemberFault[] {
  if (!isPlainObject(value)) return [{ detail: 'must be an object of strings' }];
  const entries = Object.entries(value);
  if (entries.length > LABELS_MAX) return [{ detail: `must have at most ${LABELS_MAX} labels` }];
  return entries.flatMap(([key, text]) => {
    const detail = labelFault(key, nullable && text === null ? '' : text);
    return detail === undefined ? [] : [{ key, detail }];
  });
}

function labelFault(key: string, value: unknown): string | undefined {
  if (!LABEL_KEY.test(key))
    return 'must have a key of 1 to 63 letters, digits, ".", "_", "/" and "-" that begins and ends with a letter or digit';
  const isGood =
    typeof value === 'string' &&
    lengthInCodePoints(value) <= LABEL_VALUE_MAX &&
    value.isWellFormed() &&
    !CONTROL.test(value);
  return isGood ? undefined : `must be a text of at most ${LABEL_VALUE_MAX} characters without control characters`;
}

/** JSON Merge Patch (RFC 7396) of labels. */
export function patchLabels(labels: Labels, patch: Readonly<Record<string, string | null>> | null): Labels {
  if (patch === null) return {};
  return Object.fromEntries(
    Object.entries({ ...labels, ...patch }).filter((entry): entry is [string, string] => entry[1] !== null),
  );
}

export interface LabelFilter {
  readonly key: string;
  /** Undefined asks for any value. */
  readonly value: string | undefined;
}

/** `key`, `key=value` or `key:value`; a key holds neither sign. */
export function parseLabelFilter(text: string): LabelFilter {
  const [, key = text, value] = /^([^:=]*)(?:[:=](.*))?$/s.exec(text) ?? [];
  return { key, value };
}

/** The one way in which a filter by label is stored and answered: `key` or `key=value`. */
export function labelFilterText(text: string): string {
  const { key, value } = parseLabelFilter(text);
  return value === undefined ? key : `${key}=${value}`;
}

/** What is wrong with a filter by one label; undefined for nothing. */
export function labelFilterFault(text: unknown): string | undefined {
  if (typeof text !== 'string') return 'must be key, key=value or key:value';
  const { key, value = '' } = parseLabelFilter(text);
  return labelsFaults({ [key]: value })[0]?.detail;
}

/** What is wrong with the instant until which a power state is believed; wall time in Unix milliseconds. */
export function expiryFaults(expiresAtMs: number | null, nowMs: number): readonly FieldError[] {
  const isPast = expiresAtMs !== null && expiresAtMs <= nowMs;
  return isPast ? [{ pointer: '#/expiresAt', detail: 'must be in the future' }] : [];
}

/** The power state after someone said so; saying the same again does not move when it began. */
export function nextPower(
  stored: Power,
  said: { readonly state: PowerState; readonly source: string; readonly expiresAt: FleetInstant | null },
  at: FleetInstant,
): Power {
  const stopEndedAt = stored.expiresAt === null ? at : Math.min(at, stored.expiresAt);
  const isStopped = stored.state === 'stopped' && stopEndedAt === at;
  const before = stored.state === 'stopped' ? stopEndedAt : stored.since;
  if (said.state === 'stopped') return { ...said, since: isStopped ? (stored.since ?? at) : at };
  return { ...said, since: before };
}

export interface RulesQuestion {
  readonly before: Computer;
  readonly after: Computer;
  readonly policyBefore: ResolvedSettings;
  readonly policyAfter: ResolvedSettings;
  /** Since when the rules of the policy before count. */
  readonly policyRulesSince: FleetInstant;
  readonly at: FleetInstant;
}

/** Since when what the computer is judged by counts, after a move or an edit of its overrides. */
export function rulesSinceAfter(question: RulesQuestion): FleetInstant {
  const { before, after, policyBefore, policyAfter, policyRulesSince, at } = question;
  const then = verdictRulesOf(resolveComputer(policyBefore, before));
  const now = verdictRulesOf(resolveComputer(policyAfter, after));
  if (!isDeepStrictEqual(then, now)) return at;
  return before.policyId === after.policyId ? before.rulesSince : Math.max(before.rulesSince, policyRulesSince);
}

/** The one resolver on a stored computer. */
export function resolveComputer(policy: ResolvedSettings, computer: ComputerIdentity): ResolvedSettings {
  const { id, name, kind, overrides } = computer;
  return extendWithComputer(policy, { id, name, kind, overrides: overrides ?? {} });
}

export type ComputerIdentity = Pick<Computer, 'id' | 'name' | 'kind' | 'overrides'>;

/** Stored as null when empty, so that a computer without overrides is told apart by one comparison. */
export function overridesOrNull(overrides: SettingOverrides): SettingOverrides | null {
  return Object.keys(overrides).length === 0 ? null : overrides;
}
