import { fstatSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';

import type { FieldError } from '../lib/problem.js';
import { SEVERITIES, type Severity } from '../protocol/heartbeat-messages.js';
import { readFlags, withoutUserInfo, type FlagTable, type ReadFlags } from './arguments.js';
import { dataDirectory, type DataDirectory } from './data-directory.js';
import { EMIT_KINDS, MAX_EMIT_COUNT } from './local-socket/local-requests.js';
import { PROXY_SWITCHES, PROXY_VALUES, readGivenProxies } from './proxies/proxy-arguments.js';
import type { GivenProxies } from './proxies/proxy-files.js';
import {
  INSTALL_FLAGS,
  parseInstall,
  parseUninstall,
  UNINSTALL_FLAGS,
  type InstallCommand,
  type UninstallCommand,
} from './service/service-arguments.js';
import type { ServiceManager } from './service/notifier.js';
import { MAX_MESSAGE_LENGTH, numberFault, spoolableData } from './spool/event-intake.js';
import { toStorableCut } from './storable.js';
import { parseManagerUrl, type ManagerAddress } from './transport/tls-connection.js';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';
const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'silent'];

export interface EnrollCommand {
  readonly command: 'enroll';
  readonly directory: DataDirectory;
  readonly manager: ManagerAddress;
  readonly token: string;
  readonly name: string;
  readonly json: boolean;
  /** Instead of those that were set before. */
  readonly proxies: GivenProxies | undefined;
}

export interface ProxyCommand {
  readonly command: 'proxy';
  readonly action: (typeof PROXY_ACTIONS)[number];
  readonly directory: DataDirectory;
  /** Of `set`. */
  readonly given: GivenProxies | undefined;
  /** Untried. */
  readonly force: boolean;
  readonly json: boolean;
}

export interface RunCommand {
  readonly command: 'run';
  readonly directory: DataDirectory;
  readonly clockDetection: boolean;
  /** Instead of the one in the settings. */
  readonly listenerPort: number | undefined;
  readonly logLevel: LogLevel;
  /** Whether the agent may use the machine's packet filter. */
  readonly firewall: boolean;
  /** Something starts the agent again when it ends. */
  readonly isSupervised: boolean;
  /** Instead of the one in `agent.json`. */
  readonly metricsPort: number | undefined;
  /** systemd, where it waits for word of the agent. */
  readonly serviceManager: ServiceManager | undefined;
  /** The lines of the log go to the journal, which reads their levels (sd-daemon(3)). */
  readonly logsToJournal: boolean;
}

export interface ReleaseCommand {
  readonly command: 'release';
  readonly directory: DataDirectory;
  readonly code: string;
}

export interface RestoreFirewallCommand {
  readonly command: 'restore-firewall';
  readonly directory: DataDirectory;
}

export interface StatusCommand {
  readonly command: 'status';
  readonly directory: DataDirectory;
  readonly json: boolean;
}

export interface EmitCommand {
  readonly command: 'emit';
  readonly directory: DataDirectory;
  readonly kind: (typeof EMIT_KINDS)[number];
  readonly severity: Severity;
  readonly message: string;
  readonly data: unknown;
  readonly count: number;
}

export interface HelpCommand {
  readonly command: 'help' | 'version';
}

export type AgentCommand =
  | EnrollCommand
  | RunCommand
  | StatusCommand
  | EmitCommand
  | ProxyCommand
  | ReleaseCommand
  | RestoreFirewallCommand
  | InstallCommand
  | UninstallCommand
  | HelpCommand;

/** What stands outside the arguments. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly readFile: (path: string) => string;
  readonly hostname: string;
  readonly pid?: number;
  /** Device and inode of standard error, as `JOURNAL_STREAM` names them. */
  readonly stderrFile?: string;
  readonly warn: (text: string) => void;
}

/** Arguments, environment or a file named by them are wrong; every fault is listed. */
export class UsageError extends Error {
  constructor(readonly faults: readonly string[]) {
    super(faults.join('\n'));
  }
}

export const USAGE = `wardbeat-agent COMMAND [--dir DIR]
  enroll --manager URL (--token-file F | --token - | --token T) [--name NAME] [--json]
         [--proxy URL[,URL…] [--credential NAME --secret-file F] [--no-direct]]
  run    [--no-clock-detection] [--no-firewall] [--listener-port P] [--metrics-port P]
  status [--json]
  emit   --kind detection|log|metric --severity ${SEVERITIES.join('|')} --message M [--data JSON] [--count N]
  proxy  set URL[,URL…] [--credential NAME [--secret-file F]] [--no-direct] [--force]
  proxy  list [--json] | clear [--force] | test [--json]
  release --code CODE
  restore-firewall
  install   [--user USER] [--root PREFIX] [--print]
  uninstall [--purge] [--root PREFIX]
DIR is agent-data unless given, and /var/lib/wardbeat-agent for install. WARDBEAT_ENROLLMENT_TOKEN or WARDBEAT_ENROLLMENT_TOKEN_FILE serve as the token too.`;

const ASKS: ReadonlyMap<string, HelpCommand['command']> = new Map([
  ['help', 'help'],
  ['--help', 'help'],
  ['-h', 'help'],
  ['version', 'version'],
  ['--version', 'version'],
]);
/** Of every command: `--help` and `-h`. */
const HELP_SWITCHES = ['help', 'h'];
const STDIN = 0;
const DEFAULT_DIRECTORY = 'agent-data';
const PROXY_ACTIONS = ['set', 'list', 'clear', 'test'] as const;

/** Secrets, and what systemd tells this process alone. */
const OWN_NAMES = ['WARDBEAT_ENROLLMENT_TOKEN', 'NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID'];

/** The process's own surroundings: the only reader of the environment. Children inherit nothing that is not for them. */
export function processSurroundings(warn: (text: string) => void): Surroundings {
  const env = { ...process.env };
  for (const name of OWN_NAMES) delete process.env[name];
  return {
    env,
    readFile: (path) => readFileSync(path === '-' ? STDIN : path, 'utf8'),
    hostname: hostname(),
    pid: process.pid,
    stderrFile: fileOf(2),
    warn,
  };
}

function fileOf(descriptor: number): string {
  try {
    const { dev, ino } = fstatSync(descriptor);
    return `${dev}:${ino}`;
  } catch {
    return '';
  }
}

/** Reads the command line; throws `UsageError` with every fault. */
export function parseCommand(argv: readonly string[], around: Surroundings): AgentCommand {
  const [command = '', ...rest] = argv;
  const ask = ASKS.get(command);
  if (ask) return { command: ask };
  const parser = Object.hasOwn(PARSERS, command) ? PARSERS[command] : undefined;
  if (!parser) throw new UsageError([command === '' ? 'a command is missing' : `unknown command "${command}"`]);
  const { values, switches } = parser.flags;
  const table = { ...parser.flags, values: [...values, 'dir'], switches: [...switches, ...HELP_SWITCHES] };
  const flags = readFlags(rest, table);
  if (HELP_SWITCHES.some((name) => flags.switches.has(name))) return { command: 'help' };
  const faults = [...flags.faults];
  const given = flags.values.get('dir') ?? DEFAULT_DIRECTORY;
  if (given === '') faults.push('--dir must not be empty');
  const parsed = parser.parse({ flags, directory: dataDirectory(given), around, faults });
  if (faults.length > 0) throw new UsageError(faults);
  return parsed;
}

interface Parsing {
  readonly flags: ReadFlags;
  readonly directory: DataDirectory;
  readonly around: Surroundings;
  /** Faults are added to it. */
  readonly faults: string[];
}

interface CommandParser {
  readonly flags: FlagTable;
  readonly parse: (parsing: Parsing) => AgentCommand;
}

const PARSERS: Readonly<Record<string, CommandParser>> = {
  enroll: {
    flags: {
      values: ['manager', 'token', 'token-file', 'name', 'proxy', ...PROXY_VALUES],
      switches: ['json', ...PROXY_SWITCHES],
    },
    parse: parseEnroll,
  },
  proxy: {
    flags: { values: [...PROXY_VALUES], switches: ['json', 'force', ...PROXY_SWITCHES], takesWords: true },
    parse: parseProxyCommand,
  },
  run: {
    flags: { values: ['listener-port', 'metrics-port'], switches: ['no-clock-detection', 'no-firewall'] },
    parse: parseRun,
  },
  release: { flags: { values: ['code'], switches: [] }, parse: parseRelease },
  status: {
    flags: { values: [], switches: ['json'] },
    parse: ({ flags, directory }) => ({ command: 'status', directory, json: flags.switches.has('json') }),
  },
  'restore-firewall': {
    flags: { values: [], switches: [] },
    parse: ({ directory }) => ({ command: 'restore-firewall', directory }),
  },
  install: { flags: INSTALL_FLAGS, parse: parseInstall },
  uninstall: { flags: UNINSTALL_FLAGS, parse: parseUninstall },
  emit: { flags: { values: ['kind', 'severity', 'message', 'data', 'count'], switches: [] }, parse: parseEmit },
};

function parseEnroll({ flags, directory, around, faults }: Parsing): AgentCommand {
  const { values, switches } = flags;
  const url = values.get('manager');
  const manager = url === undefined ? undefined : parseManagerUrl(url);
  if (url === undefined) faults.push('--manager URL is missing');
  else if (!manager) faults.push(`--manager must be https://host:port, not "${withoutUserInfo(url)}"`);
  const list = values.get('proxy');
  if (list === undefined && hasProxyFlags(flags))
    faults.push('--credential, --secret-file and --no-direct go with --proxy');
  const { readFile } = around;
  const name = toStorableCut(values.get('name') ?? around.hostname, 253);
  if (name === '') faults.push('--name must not be empty');
  return {
    command: 'enroll',
    directory,
    manager: manager ?? { url: '', host: '', port: 0 },
    token: readToken(flags, around, faults),
    name,
    json: switches.has('json'),
    proxies: list === undefined ? undefined : readGivenProxies({ list, flags, readFile, faults }),
  };
}

function hasProxyFlags({ values, switches }: ReadFlags): boolean {
  return PROXY_VALUES.some((name) => values.has(name)) || PROXY_SWITCHES.some((name) => switches.has(name));
}

/** The flags of `proxy`, beside --dir, and what they go with. */
const PROXY_ACTION_FLAGS: Readonly<Record<string, readonly ProxyCommand['action'][]>> = {
  credential: ['set'],
  'secret-file': ['set'],
  'no-direct': ['set'],
  force: ['set', 'clear'],
  json: ['list', 'test'],
};

function misplacedFlags(action: ProxyCommand['action'], { values, switches }: ReadFlags): string[] {
  const given = [...values.keys(), ...switches].filter((name) => Object.hasOwn(PROXY_ACTION_FLAGS, name));
  return given
    .map((name) => ({ name, actions: PROXY_ACTION_FLAGS[name] ?? [] }))
    .filter(({ actions }) => !actions.includes(action))
    .map(({ name, actions }) => `--${name} goes with proxy ${actions.join(' and ')}`);
}

function parseProxyCommand({ flags, directory, around, faults }: Parsing): ProxyCommand {
  const [word, ...others] = flags.words;
  const action = PROXY_ACTIONS.find((one) => one === word);
  if (action) faults.push(...misplacedFlags(action, flags));
  else faults.push(`proxy must be followed by ${PROXY_ACTIONS.join(', ')}`);
  const list = action === 'set' ? others[0] : undefined;
  const more = action === 'set' ? others.slice(1) : others;
  faults.push(...more.map((one) => `unexpected argument "${withoutUserInfo(one)}"`));
  if (action === 'set' && list === undefined) faults.push('proxy set needs URL[,URL…]');
  const { readFile } = around;
  return {
    command: 'proxy',
    action: action ?? 'list',
    directory,
    given: list === undefined ? undefined : readGivenProxies({ list, flags, readFile, faults }),
    force: flags.switches.has('force'),
    json: flags.switches.has('json'),
  };
}

function readToken({ values }: ReadFlags, around: Surroundings, faults: string[]): string {
  const [given, file] = [values.get('token'), values.get('token-file')];
  if (given !== undefined && file !== undefined) faults.push('--token and --token-file exclude each other');
  if (file !== undefined) return readTokenFile(file, around, faults);
  if (given === '-') return readTokenFile('-', around, faults);
  if (given !== undefined) {
    around.warn('warning: a token on the command line can be read in the process list; prefer --token-file');
    return given;
  }
  const fromEnvironment = around.env['WARDBEAT_ENROLLMENT_TOKEN'];
  if (fromEnvironment) return fromEnvironment;
  const fileFromEnvironment = around.env['WARDBEAT_ENROLLMENT_TOKEN_FILE'];
  if (fileFromEnvironment) return readTokenFile(fileFromEnvironment, around, faults);
  faults.push('a token is missing: --token-file F, --token - or WARDBEAT_ENROLLMENT_TOKEN');
  return '';
}

function readTokenFile(path: string, { readFile }: Surroundings, faults: string[]): string {
  try {
    return readFile(path).trim();
  } catch (error) {
    faults.push(`the token file cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    return '';
  }
}

function parseRun({ flags, directory, around, faults }: Parsing): AgentCommand {
  const level = (around.env['WARDBEAT_LOG_LEVEL'] ?? 'info') as LogLevel;
  if (!LOG_LEVELS.includes(level)) faults.push(`WARDBEAT_LOG_LEVEL must be one of ${LOG_LEVELS.join(', ')}`);
  return {
    command: 'run',
    directory,
    clockDetection: !flags.switches.has('no-clock-detection'),
    listenerPort: parsePort(flags, 'listener-port', faults),
    metricsPort: parsePort(flags, 'metrics-port', faults),
    logLevel: level,
    firewall: !flags.switches.has('no-firewall') && around.env['WARDBEAT_FIREWALL'] !== 'off',
    isSupervised: isSupervised(around),
    serviceManager: serviceManagerOf(around),
    logsToJournal: isJournal(around),
  };
}

const MICROSECONDS = /^\d{1,15}$/;

function serviceManagerOf({ env, pid }: Surroundings): ServiceManager | undefined {
  const { NOTIFY_SOCKET: notifySocket, WATCHDOG_USEC: watchdog = '', WATCHDOG_PID: watched } = env;
  if (!notifySocket) return undefined;
  const isWatched = MICROSECONDS.test(watchdog) && (watched === undefined || watched === String(pid));
  return {
    notifySocket,
    watchdogMs: isWatched && Number(watchdog) > 0 ? Number(watchdog) / 1000 : undefined,
    searchPath: searchPathOf(env),
  };
}

/** Where programs are found. */
export function searchPathOf(env: Surroundings['env']): string {
  return env['PATH'] ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
}

/** The variable is inherited: only where standard error still is the stream that it names. */
function isJournal({ env, stderrFile }: Surroundings): boolean {
  const stream = env['JOURNAL_STREAM'];
  return stream !== undefined && stream !== '' && stream === stderrFile;
}
/** The code counts once, so that it may stand among the arguments. */
function parseRelease({ flags, directory, faults }: Parsing): AgentCommand {
  const code = flags.values.get('code') ?? '';
  if (code === '') faults.push('--code CODE is missing: an operator of the manager has it');
  if (code.length > LONGEST_CODE) faults.push(`--code must have at most ${LONGEST_CODE} characters`);
  return { command: 'release', directory, code };
}

const LONGEST_CODE = 64;

/** systemd names the process that it started; PID 1 of a container is its runtime's to start; others say so themselves. */
function isSupervised({ env, pid }: Surroundings): boolean {
  return env['WARDBEAT_SUPERVISED'] === '1' || pid === 1 || env['SYSTEMD_EXEC_PID'] === String(pid);
}

function parsePort({ values }: ReadFlags, name: string, faults: string[]): number | undefined {
  const text = values.get(name);
  if (text === undefined) return undefined;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) faults.push(`--${name} must be a port from 1 to 65535`);
  return port;
}

function parseEmit({ flags, directory, faults }: Parsing): AgentCommand {
  const { values } = flags;
  const message = values.get('message');
  if (message === undefined) faults.push('--message M is missing');
  if (message === '') faults.push('--message must not be empty');
  if (message !== undefined && message.length > MAX_MESSAGE_LENGTH)
    faults.push(`--message has ${message.length} characters and must have at most ${MAX_MESSAGE_LENGTH}`);
  return {
    command: 'emit',
    directory,
    kind: choice(values, { name: 'kind', choices: EMIT_KINDS, faults }),
    severity: choice(values, { name: 'severity', choices: SEVERITIES, faults }),
    message: message ?? '',
    data: parseData(values.get('data'), faults),
    count: parseCount(values.get('count'), faults),
  };
}

function choice<const T extends string>(
  values: ReadonlyMap<string, string>,
  { name, choices, faults }: { name: string; choices: readonly [T, ...T[]]; faults: string[] },
): T {
  const given = values.get(name);
  const found = choices.find((candidate) => candidate === given);
  if (!found) faults.push(`--${name} must be one of ${choices.join(', ')}`);
  return found ?? choices[0];
}

function parseData(text: string | undefined, faults: string[]): unknown {
  if (text === undefined) return undefined;
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    faults.push('--data must be JSON');
    return undefined;
  }
  const errors: FieldError[] = [];
  spoolableData(data, errors);
  const fault = errors.length === 0 ? numberFault(data, '') : undefined;
  faults.push(...errors.map(({ detail }) => `--data ${detail}`));
  if (fault) faults.push(`--data${fault.pointer && ` ${fault.pointer}`} ${fault.detail}`);
  return data;
}

const DIGITS = /^\d{1,15}$/;

function parseCount(text: string | undefined, faults: string[]): number {
  if (text === undefined) return 1;
  const count = DIGITS.test(text) ? Number(text) : 0;
  const isGood = count >= 1 && count <= MAX_EMIT_COUNT;
  if (!isGood) faults.push(`--count must be an integer from 1 to ${MAX_EMIT_COUNT}, in digits alone`);
  return isGood ? count : 1;
}
