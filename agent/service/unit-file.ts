export const SERVICE_NAME = 'wardbeat-agent';
export const UNIT_NAME = `${SERVICE_NAME}.service`;
/** Loads the firewall before there is a network. */
export const FIREWALL_UNIT_NAME = `${SERVICE_NAME}-firewall.service`;
export const DEFAULT_SERVICE_DIRECTORY = '/var/lib/wardbeat-agent';
export const DEFAULT_SERVICE_USER = 'wardbeat-agent';

/** The installed program: Node.js and the file that it runs. */
export interface ServiceProgram {
  readonly node: string;
  readonly script: string;
}

export interface UnitFacts {
  readonly program: ServiceProgram;
  readonly directory: string;
  readonly user: string;
  /** Whether the user was made for the service, so that an uninstallation may remove it. */
  readonly isUserOwn: boolean;
  /** `systemd-notify` is there: systemd hears when the agent is ready, and whether its heartbeat loop lives. */
  readonly notifies: boolean;
}

/** Four signs of life fall due within it; an exchange that stands still is given up after 60 s. */
const WATCHDOG_SECONDS = 120;

const HARDENING = `# One capability, for the host's firewall alone; a drop-in that empties both takes the firewall away.
AmbientCapabilities=CAP_NET_ADMIN
CapabilityBoundingSet=CAP_NET_ADMIN
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
# Not set: ProtectProc and ProcSubset hide the processes that a policy may watch; ProtectKernelModules hides the list of
# built-in modules (loading one is impossible without the capability); MemoryDenyWriteExecute stops the JIT of Node.js.
`;

/** The unit by which systemd runs the agent; `[X-…]` sections are not systemd's. */
export function unitText(facts: UnitFacts): string {
  const { program, directory, user, isUserOwn } = facts;
  const exec = execLine(program, 'run', directory);
  return `# Written by \`wardbeat-agent install\`; changes belong into /etc/systemd/system/${UNIT_NAME}.d/*.conf

[Unit]
Description=Wardbeat agent
Wants=network-online.target
After=network-online.target ${FIREWALL_UNIT_NAME}
# Not enrolled yet: it waits, and systemd has nothing to restart.
ConditionPathExists=${conditionPath(`${directory}/identity.json`)}
# It never gives up by itself; systemd must not either.
StartLimitIntervalSec=0

[Service]
${typeLines(facts)}
User=${user}
Group=${user}
ExecStart=${exec}
${directoryLines(directory)}
UMask=0077

Restart=always
RestartSec=5
# 2 configuration, 3 not enrolled: a restart mends neither.
RestartPreventExitStatus=2 3
# SIGTERM lets the agent say goodbye, in 10 s at most.
KillSignal=SIGTERM
KillMode=mixed
TimeoutStartSec=90
TimeoutStopSec=30

${HARDENING}
[Install]
WantedBy=multi-user.target

[X-Wardbeat]
Directory=${directory}
User=${user}
UserOwn=${isUserOwn ? 'yes' : 'no'}
`;
}

/**
 * The unit that loads at the boot what stood in the packet filter, as nftables.service and ufw do: the agent itself waits for
 * the network, and until it has started an isolated computer would be open.
 */
export function firewallUnitText({ program, directory, user }: Omit<UnitFacts, 'isUserOwn' | 'notifies'>): string {
  return `# Written by \`wardbeat-agent install\`; changes belong into /etc/systemd/system/${FIREWALL_UNIT_NAME}.d/*.conf

[Unit]
Description=Firewall of the Wardbeat agent as it stood
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
# The rules of nftables.service begin by flushing all tables.
After=local-fs.target nftables.service
ConditionPathExists=${conditionPath(`${directory}/identity.json`)}
# Where neither is there, nothing stood.
ConditionPathExists=|${conditionPath(`${directory}/firewall.json`)}
ConditionPathExists=|${conditionPath(`${directory}/isolation.json`)}

[Service]
Type=oneshot
RemainAfterExit=yes
User=${user}
Group=${user}
ExecStart=${execLine(program, 'restore-firewall', directory)}
UMask=0077
TimeoutStartSec=30

${HARDENING.replace('PrivateTmp=yes\n', '')}
[Install]
WantedBy=multi-user.target
`;
}

function execLine({ node, script }: ServiceProgram, command: string, directory: string): string {
  return [node, script, command, '--dir', directory].map(execWord).join(' ');
}

function typeLines({ notifies }: UnitFacts): string {
  if (!notifies) return '# Without systemd-notify systemd hears nothing of the agent.\nType=exec';
  return `# systemd-notify is a child of the agent, which is why all of its processes may speak.
Type=notify
NotifyAccess=all
WatchdogSec=${WATCHDOG_SECONDS}`;
}

/** Below /var/lib systemd makes the folder and gives it to the user at each start; another one is there already. */
function directoryLines(directory: string): string {
  const state = stateDirectoryOf(directory);
  if (state === undefined) return `ReadWritePaths=${pathWord(directory)}`;
  return `StateDirectory=${pathWord(state)}\nStateDirectoryMode=0700`;
}

/** What `StateDirectory=` would name, for a folder below /var/lib. */
export function stateDirectoryOf(directory: string): string | undefined {
  return /^\/var\/lib\/([A-Za-z0-9][A-Za-z0-9._-]*(?:\/[A-Za-z0-9][A-Za-z0-9._-]*)*)$/.exec(directory)?.[1];
}

/** An argument of ExecStart= (systemd.service(5), "Command lines"). */
function execWord(text: string): string {
  return quoted(text).replaceAll('$', () => '$$');
}

/** A path in a condition, which is the rest of its line. */
function conditionPath(path: string): string {
  return path.replaceAll('%', '%%');
}

/** A path in a setting that takes quoted ones. */
function pathWord(text: string): string {
  return /^[A-Za-z0-9/._@:+-]+$/.test(text) ? text : quoted(text);
}

function quoted(text: string): string {
  const escaped = text.replaceAll('%', '%%').replaceAll('\\', '\\\\').replaceAll('"', '\\"');
  return /^[A-Za-z0-9/._@:+=-]+$/.test(escaped) ? escaped : `"${escaped}"`;
}

export interface InstalledUnit {
  readonly directory: string;
  readonly user: string;
  readonly isUserOwn: boolean;
}

/** What an installation noted in the unit; undefined for a unit of somebody else. */
export function readUnit(text: string): InstalledUnit | undefined {
  const [, noted] = text.split('\n[X-Wardbeat]\n');
  if (noted === undefined) return undefined;
  const valueOf = (key: string): string => new RegExp(`^${key}=(.*)$`, 'm').exec(noted)?.[1] ?? '';
  const [directory, user] = [valueOf('Directory'), valueOf('User')];
  if (!directory.startsWith('/') || user === '') return undefined;
  return { directory, user, isUserOwn: valueOf('UserOwn') === 'yes' };
}

/** sysusers.d(5): fields are quoted and have specifiers as in a unit. */
export function sysusersText({ user, directory }: Pick<UnitFacts, 'user' | 'directory'>): string {
  return `u ${user} - "Wardbeat agent" ${quoted(directory)} /usr/sbin/nologin\n`;
}
