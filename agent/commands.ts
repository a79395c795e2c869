import type { Clock } from '../lib/clock.js';
import { readBootId } from '../lib/clock.js';
import type { Random } from '../lib/random.js';
import { AGENT_VERSION, platform } from './agent-version.js';
import { parseSettings } from './apply-settings.js';
import { readMachineIdDigest } from './collectors/facts-collector.js';
import {
  parseCommand,
  searchPathOf,
  USAGE,
  UsageError,
  type AgentCommand,
  type EmitCommand,
  type EnrollCommand,
  type ReleaseCommand,
  type RestoreFirewallCommand,
  type StatusCommand,
  type Surroundings,
} from './config.js';
import { getIdentity, readIdentity, type DataDirectory } from './data-directory.js';
import { enrollDirectory } from './enroll-directory.js';
import { EXIT, explainFailure, type ExitCode } from './exit-codes.js';
import { isolationFile } from './firewall/isolation-file.js';
import { createNftFilter } from './firewall/nft-program.js';
import { restoreFirewall } from './firewall/restore-firewall.js';
import { ownerOf } from './identity-check.js';
import { AgentNotRunning, callAgent } from './local-socket/socket-client.js';
import { runProxyCommand } from './proxies/proxy-commands.js';
import {
  readLocalProxies,
  readSecret,
  writeLocalProxies,
  writeSecret,
  type GivenProxies,
} from './proxies/proxy-files.js';
import { runServiceCommand } from './service/service-commands.js';
import type { InstallCommand, UninstallCommand } from './service/service-arguments.js';
import type { ServiceProgram } from './service/unit-file.js';
import { DurableStore, StoreInUse } from './spool/durable-store.js';
import { Spool } from './spool/spool.js';
import { StateStore } from './state-store.js';
import { describeStatus, toStatus, type AgentStatus } from './status.js';
import type { WayTaken } from './transport/tls-connection.js';

export interface CommandContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly around: Surroundings;
  readonly print: (text: string) => void;
  readonly complain: (text: string) => void;
  /** Resolves when the process is asked to end. */
  readonly untilAskedToStop: () => Promise<void>;
  /** Starts another process like this one, which ends. */
  readonly startAnother?: () => void;
  readonly program: ServiceProgram;
}

/** Runs one command line to its end. */
export async function runCommandLine(argv: readonly string[], context: CommandContext): Promise<ExitCode> {
  try {
    return await runCommand(parseCommand(argv, context.around), context);
  } catch (error) {
    if (!(error instanceof UsageError)) return explainFailure(error, { name: 'wardbeat-agent', ...context });
    for (const fault of error.faults) context.complain(`wardbeat-agent: ${fault}`);
    context.complain(USAGE);
    return EXIT.usage;
  }
}

type Runner<C> = (command: C, context: CommandContext) => Promise<ExitCode>;

const RUNNERS: { readonly [C in AgentCommand as C['command']]: Runner<C> } = {
  enroll: runEnroll,
  // Most of the program, which the others load as little as they need it.
  run: async (command, context) => (await import('./run-command.js')).runAgent(command, context),
  status: runStatus,
  emit: runEmit,
  proxy: (command, context) => runProxyCommand(command, { ...context, bootId: readBootId() }),
  install: runService,
  uninstall: runService,
  release: runRelease,
  'restore-firewall': runRestoreFirewall,
  help: say(USAGE),
  version: say(AGENT_VERSION),
};

async function runCommand(command: AgentCommand, context: CommandContext): Promise<ExitCode> {
  const run = RUNNERS[command.command] as Runner<AgentCommand>;
  return run(command, context);
}

function runService(command: InstallCommand | UninstallCommand, context: CommandContext): Promise<ExitCode> {
  return runServiceCommand(command, { ...context, searchPath: searchPathOf(context.around.env) });
}

function say(text: string): Runner<AgentCommand> {
  return async (_command, context) => {
    context.print(text);
    return EXIT.ok;
  };
}

async function runEnroll(command: EnrollCommand, context: CommandContext): Promise<ExitCode> {
  const { directory, manager, token, name, proxies } = command;
  const { computerId, policy, ...identity } = await enrollDirectory({
    directory,
    manager,
    token,
    name,
    clock: context.clock,
    bootId: readBootId(),
    agentVersion: AGENT_VERSION,
    platform: platform(),
    machineId: await readMachineIdDigest(),
    ...enrollmentRoute(directory, proxies, context),
  });
  if (command.json) context.print(JSON.stringify({ computerId, name: identity.name, policy }));
  else context.print(`Enrolled as ${identity.name} (${computerId}) under policy ${policy.name}`);
  return EXIT.ok;
}

/** Proxies that were given count from the enrollment on; those set before count for it too. */
function enrollmentRoute(
  directory: DataDirectory,
  given: GivenProxies | undefined,
  { complain }: Pick<CommandContext, 'complain'>,
) {
  const local = given ?? readLocalProxies(directory);
  if (!local) return {};
  const secret = given?.secret;
  return {
    given,
    local,
    secretOf: (wanted: string) => (secret?.name === wanted ? secret.value : readSecret(directory, wanted)),
    onEnrolled({ proxy, warning }: WayTaken) {
      if (given) keepProxies(directory, given);
      if (!warning) return;
      const way = proxy === undefined ? 'directly' : `through ${proxy}`;
      complain(`warning: the manager was reached ${way}; ${warning.code}: ${warning.message}`);
    },
  };
}

function keepProxies(directory: DataDirectory, { proxies, direct, secret }: GivenProxies): void {
  if (secret) writeSecret(directory, secret.name, secret.value);
  writeLocalProxies(directory, { proxies, direct });
}

/** Holds the directory's lock meanwhile. */
async function withDirectory<T>(
  directory: DataDirectory,
  { clock }: CommandContext,
  action: (store: DurableStore) => Promise<T>,
): Promise<T> {
  const { store } = await DurableStore.open(directory.store, clock);
  try {
    return await action(store);
  } finally {
    await store.close();
  }
}

const LOCAL_CALL_MS = 10_000;
const EMIT_CALL_MS = 600_000;
/** Two runs of nft. */
const RELEASE_CALL_MS = 30_000;

async function runStatus({ directory, json }: StatusCommand, context: CommandContext): Promise<ExitCode> {
  getIdentity(directory);
  const status = await readStatus(directory, context);
  context.print(json ? JSON.stringify(status) : describeStatus(status));
  return status.state === 'online' ? EXIT.ok : EXIT.notInContact;
}

/** An agent that is just starting holds the directory before its socket answers: then it is asked once more. */
async function readStatus(directory: DataDirectory, context: CommandContext): Promise<AgentStatus> {
  const running = await askRunning(directory, context);
  if (running) return running;
  try {
    return await readStoppedStatus(directory, context);
  } catch (error) {
    const started = error instanceof StoreInUse ? await askRunning(directory, context) : undefined;
    if (!started) throw error;
    return started;
  }
}

async function askRunning(directory: DataDirectory, { clock }: CommandContext): Promise<AgentStatus | undefined> {
  const call = { folder: directory.path, name: directory.socketName, clock, milliseconds: LOCAL_CALL_MS };
  try {
    return (await callAgent(call, { op: 'status' })) as AgentStatus;
  } catch (error) {
    if (error instanceof AgentNotRunning) return undefined;
    throw error;
  }
}

/** From what the stopped agent left on disk. */
function readStoppedStatus(directory: DataDirectory, context: CommandContext): Promise<AgentStatus> {
  return withDirectory(directory, context, async (store) => {
    const identity = getIdentity(directory);
    const owner = ownerOf(identity);
    const file = isolationFile(directory, owner);
    const state = await StateStore.open(store, { owner, firstSequence: 0, isolationFile: file });
    return toStatus({
      identity,
      contact: 'stopped',
      progress: state.progress,
      settings: parseSettings(state.settings?.json ?? '{}'),
      appliedFingerprint: state.settings?.fingerprint,
      candidateFingerprint: undefined,
      listener: { state: 'closed' },
      channel: { state: 'off', since: null, detail: null },
      firewall: { state: 'unknown', detail: 'the agent does not run', isolated: isolatedOf(state) },
      spool: await Spool.inspect(store),
      nextContactAt: state.progress.nextContactAt,
    });
  });
}

function isolatedOf({ isolation }: StateStore) {
  return isolation ? { since: isolation.since, commandId: isolation.commandId } : null;
}

async function runRelease({ directory, code }: ReleaseCommand, context: CommandContext): Promise<ExitCode> {
  getIdentity(directory);
  const call = {
    folder: directory.path,
    name: directory.socketName,
    clock: context.clock,
    milliseconds: RELEASE_CALL_MS,
  };
  await callAgent(call, { op: 'release', code });
  context.print('The isolation was ended');
  return EXIT.ok;
}

async function runRestoreFirewall({ directory }: RestoreFirewallCommand, context: CommandContext): Promise<ExitCode> {
  const owner = ownerOf(getIdentity(directory));
  const hasStood = await restoreFirewall({ directory, owner }, createNftFilter(context));
  context.print(hasStood ? 'The tables of the firewall stand as they stood' : 'No tables of the firewall stood');
  return EXIT.ok;
}

async function runEmit(command: EmitCommand, context: CommandContext): Promise<ExitCode> {
  const { directory, kind, severity, message, data, count } = command;
  const call = { folder: directory.path, name: directory.socketName, clock: context.clock, milliseconds: EMIT_CALL_MS };
  const request = { op: 'emit', kind, severity, message, count, ...(data === undefined ? {} : { data }) };
  try {
    context.print(JSON.stringify(await callAgent(call, request)));
  } catch (error) {
    // Why none runs: damaged files keep it from starting.
    if (error instanceof AgentNotRunning) readIdentity(directory);
    throw error;
  }
  return EXIT.ok;
}
