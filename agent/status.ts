import { readCertificate } from '../certs/certificate-reader.js';
import { certificatesOf } from '../certs/pem.js';
import { toRfc3339 } from '../lib/clock.js';
import type { SettingValues } from '../policies/setting-values.js';
import type { ListenerReport } from '../protocol/heartbeat-messages.js';
import type { IdentityFile } from './data-directory.js';
import type { FirewallStatus } from './firewall/firewall.js';
import type { ContactState } from './heartbeat-loop.js';
import type { ChannelStatus } from './transport/held-transport.js';
import type { SpoolStatus } from './spool/spool.js';
import type { Progress } from './state-store.js';

/** What `wardbeat-agent status --json` prints; names are public (contract). */
export interface AgentStatus {
  readonly computerId: string;
  readonly name: string;
  readonly state: ContactState;
  readonly direction: string;
  readonly connectionMode: string;
  readonly managerUrl: string | null;
  readonly proxy: string | null;
  readonly lastExchangeAt: string | null;
  readonly nextContactAt: string | null;
  readonly lastError: { readonly code: string; readonly at: string; readonly detail: string } | null;
  /** `candidate`: the fingerprint of settings that are being proven. */
  readonly settings: { readonly applied: string | null; readonly candidate: string | null };
  readonly listener: {
    readonly state: ListenerReport['state'];
    readonly port: number | null;
    readonly detail: string | null;
  };
  /** The connection that is held: `open`, `closed`, `fallback` (none can be held, and why) or `off` (none is wanted). */
  readonly channel: {
    readonly state: ChannelStatus['state'];
    readonly since: string | null;
    readonly detail: string | null;
  };
  /** Whether the rules of the settings are in force, and why not. */
  readonly firewall: { readonly state: FirewallStatus['state'] | 'unknown'; readonly detail: string | null };
  /** Since when nothing but the manager is left to the computer, and by which command; null while it is not isolated. */
  readonly isolated: { readonly since: string; readonly commandId: string } | null;
  readonly spool: SpoolStatus;
  readonly certificate: { readonly serial: string; readonly notAfter: string };
  /** Positive: this computer's clock is ahead of the manager's. */
  readonly clockOffsetMs: number | null;
}

export interface StatusInputs {
  readonly identity: Pick<IdentityFile, 'computerId' | 'name' | 'managerUrls'> & { readonly certificatePem: string };
  readonly contact: ContactState;
  readonly progress: Progress;
  readonly settings: SettingValues;
  readonly appliedFingerprint: string | undefined;
  readonly candidateFingerprint: string | undefined;
  readonly listener: ListenerReport;
  readonly channel: ChannelStatus;
  readonly firewall: Omit<FirewallStatus, 'state'> & { readonly state: FirewallStatus['state'] | 'unknown' };
  readonly spool: SpoolStatus;
  readonly nextContactAt: number | undefined;
}

export function toStatus({ identity, progress, settings, spool, ...inputs }: StatusInputs): AgentStatus {
  const { lastError } = progress;
  const { listener } = inputs;
  const [leaf] = certificatesOf(identity.certificatePem);
  if (!leaf) throw new Error('agent.crt holds no certificate');
  const { serial, notAfter } = readCertificate(leaf);
  return {
    computerId: identity.computerId,
    name: identity.name,
    state: inputs.contact,
    direction: settings.communicationDirection,
    connectionMode: settings.connectionMode,
    ...whereOf(progress, identity),
    lastExchangeAt: instant(progress.lastExchangeAt),
    nextContactAt: instant(inputs.nextContactAt),
    lastError: lastError ? { ...lastError, at: toRfc3339(lastError.at) } : null,
    settings: { applied: inputs.appliedFingerprint ?? null, candidate: inputs.candidateFingerprint ?? null },
    listener: { state: listener.state, port: listener.port ?? null, detail: listener.detail ?? null },
    channel: { ...inputs.channel, since: instant(inputs.channel.since) },
    ...firewallOf(inputs.firewall),
    spool,
    certificate: { serial, notAfter: toRfc3339(notAfter) },
    clockOffsetMs: progress.clockOffsetMs ?? null,
  };
}

function whereOf({ managerUrl, proxy = null }: Progress, { managerUrls }: StatusInputs['identity']) {
  return { managerUrl: managerUrl ?? managerUrls[0] ?? null, proxy };
}

function firewallOf({ state, detail, isolated }: StatusInputs['firewall']) {
  return { firewall: { state, detail }, isolated: isolated && { ...isolated, since: toRfc3339(isolated.since) } };
}

function instant(at: number | null | undefined): string | null {
  return at === undefined || at === null ? null : toRfc3339(at);
}

/** For a person at a terminal. */
export function describeStatus(status: AgentStatus): string {
  const { lastError, spool } = status;
  const lines: readonly (readonly [string, string])[] = [
    ['computer', `${status.name} (${status.computerId})`],
    ['state', status.state],
    ['direction', status.direction],
    ['listener', describeListener(status.listener)],
    ['channel', describeChannel(status.channel)],
    ['firewall', describeFirewall(status.firewall)],
    ...(status.isolated ? [['ISOLATED', describeIsolation(status.isolated)] as const] : []),
    ['manager', status.managerUrl ?? '-'],
    ['proxy', status.proxy ?? 'none'],
    ['last exchange', status.lastExchangeAt ?? 'never'],
    ['next contact', status.nextContactAt ?? '-'],
    ['last error', lastError ? `${lastError.code} at ${lastError.at}: ${lastError.detail}` : 'none'],
    ['settings', status.settings.applied ?? 'none yet'],
    ...(status.settings.candidate === null ? [] : [['proving', status.settings.candidate] as const]),
    ['spool', describeSpool(spool)],
    ...Object.entries(spool.lanes).map(
      ([lane, { next, acknowledged, waiting, dropped }]) =>
        [`  ${lane}`, `next ${next}, acknowledged ${acknowledged}, waiting ${waiting}, dropped ${dropped}`] as const,
    ),
    ['certificate', `${status.certificate.serial}, until ${status.certificate.notAfter}`],
  ];
  return lines.map(([label, text]) => `${label.padEnd(14)} ${text}`).join('\n');
}

function describeChannel({ state, since, detail }: AgentStatus['channel']): string {
  const when = since === null ? state : `${state} since ${since}`;
  return detail === null ? when : `${when}: ${detail}`;
}

function describeFirewall({ state, detail }: AgentStatus['firewall']): string {
  return detail === null ? state : `${state}: ${detail}`;
}

function describeIsolation({ since, commandId }: NonNullable<AgentStatus['isolated']>): string {
  return `since ${since}, by command ${commandId}; ended by the command release, or here by its code`;
}

function describeSpool({ bytes, eventRateLimitPerMinute: limit, heldBack, failure }: SpoolStatus): string {
  const held = heldBack.length === 0 ? [] : [`the limit of ${limit} events a minute holds back ${heldBack.join(', ')}`];
  const refusing = failure === null ? [] : [`accepts nothing: ${failure}`];
  return [`${bytes} bytes`, ...refusing, ...held].join('; ');
}

function describeListener({ state, port, detail }: AgentStatus['listener']): string {
  const where = port === null ? state : `${state} on ${port}`;
  return detail === null ? where : `${where}: ${detail}`;
}
