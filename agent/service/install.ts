import { chmodSync, existsSync, lstatSync, mkdirSync, readFileSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { writeDurably } from '../../lib/durable-file.js';
import {
  contentFault,
  handOver,
  hiddenFault,
  isWithin,
  placeFault,
  sharedFault,
  type FolderOwner,
} from './service-folder.js';
import type { ServiceHost } from './service-host.js';
import {
  FIREWALL_UNIT_NAME,
  firewallUnitText,
  readUnit,
  SERVICE_NAME,
  stateDirectoryOf,
  sysusersText,
  UNIT_NAME,
  unitText,
  type ServiceProgram,
  type UnitFacts,
} from './unit-file.js';

export interface InstallOptions {
  readonly host: ServiceHost;
  readonly program: ServiceProgram;
  readonly directory: string;
  readonly user: string;
  /** A tree that another system is put together in: files are written below it, and nothing is started. */
  readonly root: string | undefined;
  /** Whether an agent that is not the service runs on the directory now. */
  readonly isRunningElsewhere: boolean;
}

/** What stands against an installation or a removal; nothing was changed. */
export class ServiceFault extends Error {
  constructor(
    readonly faults: readonly string[],
    readonly isInUse = false,
  ) {
    super(faults.join('\n'));
    this.name = 'ServiceFault';
  }
}

/** A step failed; what was done before it was undone. */
export class ServiceFailure extends Error {
  constructor(detail: string) {
    super(`${detail}; what was changed before was put back`);
    this.name = 'ServiceFailure';
  }
}

const USER_NAME = /^[a-z_][a-z0-9_-]{0,30}$/;

export interface ServicePaths {
  readonly unit: string;
  readonly wants: string;
  readonly firewallUnit: string;
  readonly firewallWants: string;
  readonly sysusers: string;
}

export function servicePaths(root = ''): ServicePaths {
  const units = `${root}/etc/systemd/system`;
  return {
    unit: join(units, UNIT_NAME),
    wants: join(units, 'multi-user.target.wants', UNIT_NAME),
    firewallUnit: join(units, FIREWALL_UNIT_NAME),
    firewallWants: join(units, 'multi-user.target.wants', FIREWALL_UNIT_NAME),
    sysusers: join(root || '/', 'etc/sysusers.d', `${SERVICE_NAME}.conf`),
  };
}

/** Installs the service; answers what was done, for a human. Throws `ServiceFault` before, `ServiceFailure` after a change. */
export function installService(options: InstallOptions): string[] {
  const faults = installFaults(options);
  if (faults.length > 0) throw new ServiceFault(faults);
  if (options.isRunningElsewhere)
    throw new ServiceFault([`an agent runs on ${options.directory} already: stop it first`], true);
  return options.root === undefined ? new Installation(options).run() : installBelow(options, options.root);
}

/** What an installation would write. Throws `ServiceFault` where systemd would not take it. */
export function plannedFiles({ host, ...facts }: InstallOptions): string[] {
  const faults = wordFaults(facts).filter((fault) => fault !== undefined);
  if (faults.length > 0) throw new ServiceFault(faults);
  return [
    unitText({ ...facts, isUserOwn: true, notifies: host.has('systemd-notify') }),
    `# ${servicePaths().firewallUnit}`,
    firewallUnitText(facts),
    `# ${servicePaths().sysusers}`,
    sysusersText(facts).trim(),
  ];
}

type Faults = readonly (string | undefined)[];

function installFaults(options: InstallOptions): string[] {
  const { host, root, directory } = options;
  if (root === undefined && !host.isRoot)
    return ['a service is installed by root; --print shows the unit, --root PREFIX writes it elsewhere'];
  const isPlaceGood = placeFault(directory) === undefined;
  const faults = [
    ...wordFaults(options),
    ...(root === undefined ? hereFaults(options, isPlaceGood) : belowFaults(options, root)),
  ];
  return faults.filter((fault) => fault !== undefined);
}

/** Of what was given alone, whatever the machine is like. */
function wordFaults({ user, directory }: Pick<InstallOptions, 'user' | 'directory'>): Faults {
  const place = placeFault(directory);
  const isName = USER_NAME.test(user) && user !== 'root';
  return [
    place === undefined ? undefined : `${directory} ${place}`,
    isName ? undefined : `--user "${user}" is no name for a user of a service`,
  ];
}

function belowFaults({ directory, program }: InstallOptions, root: string): Faults {
  const isMovable = stateDirectoryOf(directory) !== undefined;
  const { node, script } = programBelow(program, root);
  const hidden = [node, script].map((path) => [path, hiddenFault(path)] as const);
  return [
    ...hidden.map(([path, fault]) => fault && `${path} ${fault}: put the program into the tree at ${root}`),
    isMovable ? undefined : `with --root the directory must lie below /var/lib, not at ${directory}`,
    existsSync(root) ? undefined : `${root} is not there`,
  ];
}

function hereFaults(options: InstallOptions, isPlaceGood: boolean): Faults {
  const { directory, host } = options;
  const content = isPlaceGood ? contentFault(host.tree + directory) : undefined;
  return [
    content === undefined ? undefined : `${directory} ${content}`,
    existsSync(host.tree + dirname(directory)) ? undefined : `${dirname(directory)} is not there`,
    ...programFaults(options),
    ...systemFaults(options),
  ];
}

function programFaults({ program: { node, script }, directory }: InstallOptions): Faults {
  const nodeFault = sharedFault(node, 0o005);
  const scriptFault = sharedFault(script, 0o004);
  return [
    nodeFault && `${nodeFault}: install Node.js for all users`,
    scriptFault && `${scriptFault}: npm install -g wardbeat-agent`,
    isWithin(script, directory) ? `the program lies in its own data directory ${directory}` : undefined,
  ];
}

function systemFaults({ host, user }: InstallOptions): Faults {
  const isUserPossible = hasUser(host, user) || canMakeUsers(host);
  return [
    host.isBooted && !host.has('systemctl') ? 'systemctl is not installed' : undefined,
    isUserPossible ? undefined : `there is no user ${user}, and neither systemd-sysusers nor useradd`,
  ];
}

function hasUser(host: ServiceHost, user: string): boolean {
  return host.run('id', ['-u', user]).status === 0;
}

function canMakeUsers(host: ServiceHost): boolean {
  return host.has('systemd-sysusers') || host.has('useradd');
}

/** On this machine. Every step knows how it is undone. */
class Installation {
  readonly #options: InstallOptions;
  readonly #paths;
  /** Where the data directory really is. */
  readonly #folder: string;
  readonly #undo: (() => void)[] = [];
  readonly #said: string[] = [];

  constructor(options: InstallOptions) {
    this.#options = options;
    this.#paths = servicePaths(options.host.tree);
    this.#folder = options.host.tree + options.directory;
  }

  run(): string[] {
    try {
      const isUserOwn = this.#makeUser();
      this.#handOver();
      const isNew = this.#writeUnits(isUserOwn);
      if (this.#options.host.isBooted) this.#start(isNew);
      else this.#said.push('systemd does not run here: enable and start the service where it does');
      return this.#said;
    } catch (error) {
      for (const step of this.#undo.toReversed()) step();
      throw new ServiceFailure(error instanceof Error ? error.message : String(error));
    }
  }

  /** Whether the user is the service's own. */
  #makeUser(): boolean {
    const { host, user, directory } = this.#options;
    const { sysusers, unit } = this.#paths;
    if (hasUser(host, user)) return isDeclared(sysusers, user) || readUnit(readIfThere(unit) ?? '')?.isUserOwn === true;
    this.#write(sysusers, sysusersText({ user, directory }));
    if (host.has('systemd-sysusers')) {
      this.#undo.push(() => void (hasUser(host, user) && host.run('userdel', [user])));
      this.#must('systemd-sysusers', [sysusers]);
    } else {
      const folder = ['--home-dir', directory, '--no-create-home'];
      this.#undo.push(() => void (hasUser(host, user) && host.run('userdel', [user])));
      this.#must('useradd', ['--system', '--user-group', ...folder, '--shell', '/usr/sbin/nologin', user]);
    }
    this.#said.push(`made the user ${user}`);
    return true;
  }

  #handOver(): void {
    const { host, directory, user } = this.#options;
    const owner: FolderOwner = { uid: idOf(host, '-u', user), gid: idOf(host, '-g', user) };
    const before = lstatSync(this.#folder, { throwIfNoEntry: false });
    if (before && before.uid !== 0 && before.uid !== owner.uid)
      throw new Error(`${directory} belongs to the user ${before.uid}, neither to root nor to ${user}`);
    this.#undo.push(handOver(this.#folder, owner));
    if (!before) this.#said.push(`made ${directory} for ${user}`);
    else if (before.uid !== owner.uid) this.#said.push(`gave ${directory} to ${user}`);
  }

  /** Whether the agent's own is another now. */
  #writeUnits(isUserOwn: boolean): boolean {
    const { host, program, directory, user } = this.#options;
    const facts: UnitFacts = { program, directory, user, isUserOwn, notifies: host.has('systemd-notify') };
    if (!facts.notifies) this.#said.push('systemd-notify is not installed: the service runs without a watchdog');
    const { unit, firewallUnit } = this.#paths;
    this.#writeUnit(firewallUnit, firewallUnitText(facts));
    return this.#writeUnit(unit, unitText(facts));
  }

  #writeUnit(path: string, text: string): boolean {
    const isNew = readIfThere(path) !== text;
    if (isNew) this.#write(path, text);
    this.#said.push(isNew ? `wrote ${path}` : asItShouldBe(path));
    return isNew;
  }

  #start(isNew: boolean): void {
    const { host, directory } = this.#options;
    const wasActive = host.run('systemctl', ['is-active', '--quiet', UNIT_NAME]).status === 0;
    const wasEnabled = host.run('systemctl', ['is-enabled', '--quiet', UNIT_NAME]).status === 0;
    // Undone in the reverse order: the former unit stands again by then.
    this.#undo.unshift(() => this.#comeBack({ wasActive, wasEnabled }));
    this.#must('systemctl', ['daemon-reload']);
    this.#must('systemctl', ['enable', '--quiet', UNIT_NAME, FIREWALL_UNIT_NAME]);
    this.#said.push('enabled the service');
    if (!existsSync(join(this.#folder, 'identity.json'))) {
      this.#said.push(`not started: ${directory} is not enrolled. Enroll it, then: systemctl start ${SERVICE_NAME}`);
      return;
    }
    if (wasActive && !isNew) return void this.#said.push('it runs');
    this.#must('systemctl', ['restart', UNIT_NAME]);
    this.#said.push(wasActive ? 'started it anew' : 'started it');
  }

  #comeBack({ wasActive, wasEnabled }: { wasActive: boolean; wasEnabled: boolean }): void {
    const { host } = this.#options;
    if (!wasEnabled) {
      host.run('systemctl', ['stop', UNIT_NAME]);
      rmSync(this.#paths.wants, { force: true });
    }
    const { firewallUnit, firewallWants } = this.#paths;
    if (!existsSync(firewallUnit)) rmSync(firewallWants, { force: true });
    host.run('systemctl', ['daemon-reload']);
    if (wasActive) host.run('systemctl', ['restart', UNIT_NAME]);
  }

  #write(path: string, text: string): void {
    const before = readIfThere(path);
    this.#undo.push(() => (before === undefined ? rmSync(path, { force: true }) : writeFor(path, before)));
    writeFor(path, text);
  }

  #must(command: string, args: readonly string[]): void {
    const { status, stderr } = this.#options.host.run(command, args);
    if (status !== 0)
      throw new Error(`${command} ${args.join(' ')} ended with ${status}: ${stderr.trim() || 'no word'}`);
  }
}

/** As the system below the root will see it. */
function programBelow({ node, script }: ServiceProgram, root: string): ServiceProgram {
  const inside = (path: string): string => (isWithin(path, root) ? path.slice(root.length) : path);
  return { node: inside(node), script: inside(script) };
}

/** Below another root: what systemd of that system finds at its first boot. */
function installBelow({ program, directory, user, host }: InstallOptions, root: string): string[] {
  const { unit, wants, firewallUnit, firewallWants, sysusers } = servicePaths(root);
  const facts = { program: programBelow(program, root), directory, user };
  const enabled = [
    [wants, UNIT_NAME],
    [firewallWants, FIREWALL_UNIT_NAME],
  ] as const;
  return [
    writeUnlessSame(sysusers, sysusersText({ user, directory })),
    writeUnlessSame(unit, unitText({ ...facts, isUserOwn: true, notifies: host.has('systemd-notify') })),
    writeUnlessSame(firewallUnit, firewallUnitText(facts)),
    `${enable(enabled) ? 'enabled the service' : 'the service is enabled'}; it starts at the boot of that system once it is enrolled`,
  ];
}

/** Answers what was done, for a human. */
function writeUnlessSame(path: string, text: string): string {
  if (readIfThere(path) === text) return asItShouldBe(path);
  writeFor(path, text);
  return `wrote ${path}`;
}

function asItShouldBe(path: string): string {
  return `${path} is as it should be`;
}

/** Answers whether a link was not there. */
function enable(units: readonly (readonly [wants: string, name: string])[]): boolean {
  const missing = units.filter(([wants, name]) => !isLinkTo(wants, `../${name}`));
  for (const [wants, name] of missing) {
    mkdirSync(dirname(wants), { recursive: true });
    rmSync(wants, { force: true });
    symlinkSync(`../${name}`, wants);
  }
  return missing.length > 0;
}

/** By an installation that made the user; an uninstallation that leaves the user leaves its declaration. */
function isDeclared(sysusers: string, user: string): boolean {
  return readIfThere(sysusers)?.startsWith(`u ${user} `) === true;
}

function isLinkTo(path: string, target: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true && readlinkSync(path) === target;
}

function idOf(host: ServiceHost, flag: '-u' | '-g', user: string): number {
  const { status, stdout } = host.run('id', [flag, user]);
  const id = Number(stdout.trim());
  if (status !== 0 || !Number.isInteger(id) || stdout.trim() === '')
    throw new Error(`the user ${user} cannot be looked up`);
  if (id === 0) throw new Error(`${user} is root or of its group, which the agent does not run as`);
  return id;
}

/** Others may read it: systemd and people do. */
function writeFor(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeDurably(path, text);
  chmodSync(path, 0o644);
}

export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
