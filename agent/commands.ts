import type { Clock } from '../lib/clock.js';
import { readBootId } from '../lib/clock.js';
import { createLog } from '../lib/log.js';
import type { Random } from '../lib/random.js';
import { AGENT_VERSION, platform } from './agent-version.js';
import { parseSettings } from './apply-settings.js';
import { readMachineIdDigest } from './collectors/facts-collector.js';
import { composeAgent, NotEnrolled } from './compose.js';
import {
  parseCommand,
  USAGE,
  UsageError,
  type AgentCommand,
  type EmitCommand,
  type EnrollCommand,
  type RunCommand,
  type StatusCommand,
  type Surroundings,
} from './config.js';
import { readIdentity, type DataDirectory } from './data-directory.js';
import { enroll, EnrollmentInputInvalid } from './enroll.js';
import { AgentNotRunning, callAgent, LocalRefusal } from './local-socket/socket-client.js';
import { DurableStore, StoreInUse } from './spool/durable-store.js';
import { Spool } from './spool/spool.js';
import { StateStore } from './state-store.js';
import { describeStatus, toStatus, type AgentStatus } from './status.js';
import { ManagerRefusal, TransportError } from './transport/transport-error.js';

/** Exit codes (contract). */
export const EXIT = { ok: 0, notInContact: 1, usage: 2, notEnrolled: 3, refused: 4, inUse: 5 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export interface CommandContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly around: Surroundings;
  readonly print: (text: string) => void;
  readonly complain: (text: string) => void;
  /** Resolves when the process is asked to end. */
  readonly untilAskedToStop: () => Promise<void>;
}

/** Runs one command line to its end. */
export async function runCommandLine(argv: readonly string[], context: CommandContext): Promise<ExitCode> {
  try {
    return await runCommand(parseCommand(argv, context.around), context);
  } catch (error) {
    return explain(error, context.complain);
  }
}

async function runCommand(command: AgentCommand, context: CommandContext): Promise<ExitCode> {
  switch (command.command) {
    case 'enroll':
      return runEnroll(command, context);
    case 'run':
      return runAgent(command, context);
    case 'status':
      return runStatus(command, context);
    case 'emit':
      return runEmit(command, context);
    case 'help':
      context.print(USAGE);
      return EXIT.ok;
    case 'version':
      context.print(AGENT_VERSION);
      return EXIT.ok;
  }
}

function explain(error: unknown, complain: (text: string) => void): ExitCode {
  if (error instanceof UsageError) {
    for (const fault of error.faults) complain(`wardbeat-agent: ${fault}`);
    complain(USAGE);
    return EXIT.usage;
  }
  const text = error instanceof Error ? error.message : String(error);
  const hasCode = error instanceof ManagerRefusal || error instanceof TransportError;
  complain(hasCode ? `${error.code}: ${text}` : `wardbeat-agent: ${text}`);
  if (error instanceof LocalRefusal) for (const fault of error.errors) complain(`wardbeat-agent: ${fault}`);
  return exitCodeOf(error);
}

function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof ManagerRefusal) return error.status >= 500 ? EXIT.notInContact : EXIT.refused;
  if (error instanceof TransportError) return error.code.startsWith('tls-') ? EXIT.refused : EXIT.notInContact;
  return isConfigurationFault(error) ? EXIT.usage : exitCodeOfKnown(error);
}

/** Of the input, or of a path that the operating system refused. */
function isConfigurationFault(error: unknown): boolean {
  if (error instanceof LocalRefusal) return error.code === 'request-invalid';
  return error instanceof Error && 'syscall' in error;
}

function exitCodeOfKnown(error: unknown): ExitCode {
  return KNOWN_ERRORS.find(({ type }) => error instanceof type)?.exit ?? EXIT.notInContact;
}

const KNOWN_ERRORS: readonly { readonly type: new (...args: never[]) => Error; readonly exit: ExitCode }[] = [
  { type: NotEnrolled, exit: EXIT.notEnrolled },
  { type: StoreInUse, exit: EXIT.inUse },
  { type: EnrollmentInputInvalid, exit: EXIT.usage },
];

async function runEnroll(command: EnrollCommand, context: CommandContext): Promise<ExitCode> {
  const { directory, manager, token, name } = command;
  const identity =
    readIdentity(directory) ??
    (await withDirectory(directory, context, async () =>
      enroll({
        directory,
        manager,
        token,
        name,
        clock: context.clock,
        agentVersion: AGENT_VERSION,
        platform: platform(),
        machineId: await readMachineIdDigest(),
      }),
    ));
  const { computerId, policy } = identity;
  if (command.json) context.print(JSON.stringify({ computerId, name: identity.name, policy }));
  else context.print(`Enrolled as ${identity.name} (${computerId}) under policy ${policy.name}`);
  return EXIT.ok;
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

async function runAgent(command: RunCommand, context: CommandContext): Promise<ExitCode> {
  const { clock, random } = context;
  const log = createLog({ name: 'wardbeat-agent', level: command.logLevel, toStderr: true });
  const daemon = await composeAgent({
    directory: command.directory,
    clock,
    random,
    log,
    bootId: readBootId(),
    clockDetection: command.clockDetection,
  });
  await daemon.start();
  await context.untilAskedToStop();
  await daemon.stop();
  return EXIT.ok;
}

const LOCAL_CALL_MS = 10_000;
const EMIT_CALL_MS = 600_000;

async function runStatus({ directory, json }: StatusCommand, context: CommandContext): Promise<ExitCode> {
  if (!readIdentity(directory)) throw new NotEnrolled(`${directory.path} is not enrolled`);
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
    const identity = readIdentity(directory);
    if (!identity) throw new NotEnrolled(`${directory.path} is not enrolled`);
    const state = await StateStore.open(store, 0);
    return toStatus({
      identity,
      contact: 'stopped',
      progress: state.progress,
      settings: parseSettings(state.settings?.json ?? '{}'),
      appliedFingerprint: state.settings?.fingerprint,
      spool: await Spool.inspect(store),
      nextContactAt: state.progress.nextContactAt,
    });
  });
}

async function runEmit(command: EmitCommand, context: CommandContext): Promise<ExitCode> {
  const { directory, kind, severity, message, data, count } = command;
  const range = await callAgent(
    { folder: directory.path, name: directory.socketName, clock: context.clock, milliseconds: EMIT_CALL_MS },
    { op: 'emit', kind, severity, message, count, ...(data === undefined ? {} : { data }) },
  );
  context.print(JSON.stringify(range));
  return EXIT.ok;
}
