import { digestOfSet, effectiveSet, type EffectiveRule } from '../../policies/firewall-set.js';
import type { SettingValues } from '../../policies/setting-values.js';
import type { FirewallDto } from './firewall-dto.js';
import type { FirewallRow } from './firewall-query.js';

type FirewallSettings = Pick<
  SettingValues,
  'firewallRules' | 'communicationDirection' | 'listenerPort' | 'listenerAllowedSources'
>;

/** What the settings want, by the very function that the agent judges by, and what the agent says is in force. */
export function viewFirewall(
  row: FirewallRow,
  settings: FirewallSettings,
  shown: (instant: number) => string,
): FirewallDto {
  const listenerPort = portOf(row, settings);
  const sources = settings.listenerAllowedSources;
  const set = effectiveSet(settings.firewallRules, listenerPort === null ? [] : [{ port: listenerPort, sources }]);
  const desired = digestOfSet(set);
  const applied = row.firewall_digest?.toString('hex') ?? null;
  return {
    computerId: row.computer_id,
    state: stateOf(row, { desired, applied }),
    detail: row.firewall_detail,
    digest: { desired, applied },
    listenerPort,
    closed: set.closed,
    rules: set.rules.map((rule, index) => ({ order: index + 1, ...shownRule(rule) })),
    isolated: isolationOf(row, shown),
  };
}

/** Where the agent says that it listens; until it does, where the settings want it. */
function portOf(row: FirewallRow, { communicationDirection, listenerPort }: FirewallSettings): number | null {
  if ((row.direction ?? communicationDirection) === 'agentInitiated') return null;
  return row.listener_state === 'listening' ? (row.listener_port ?? listenerPort) : listenerPort;
}

function stateOf(
  { firewall_state: told, isolated_by: isolatedBy }: FirewallRow,
  { desired, applied }: { readonly desired: string; readonly applied: string | null },
): FirewallDto['state'] {
  if (told === null) return 'unknown';
  if (told !== 'applied') return told;
  if (isolatedBy !== null) return 'isolated';
  return applied === desired ? 'applied' : 'pending';
}

function shownRule({
  name,
  action,
  priority,
  direction,
  frameType,
  protocol,
  source,
  destination,
  hidden,
}: EffectiveRule) {
  return { name, action, priority, direction, frameType, protocol, source, destination, hidden };
}

function isolationOf(row: FirewallRow, shown: (instant: number) => string): FirewallDto['isolated'] {
  const { isolated_by: commandId, isolated_since_fleet_ms: since, isolated_by_name: by, isolation_args: args } = row;
  if (commandId === null || since === null) return null;
  return { since: shown(Number(since)), commandId, by, allow: args && (args.allow ?? []) };
}
