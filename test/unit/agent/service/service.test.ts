import { expect } from 'chai';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import {
  installService,
  plannedFiles,
  ServiceFailure,
  ServiceFault,
  type InstallOptions,
} from '../../../../agent/service/install.js';
import { systemHost, type ServiceHost } from '../../../../agent/service/service-host.js';
import { uninstallService } from '../../../../agent/service/uninstall.js';
import {
  firewallUnitText,
  readUnit,
  sysusersText,
  unitText,
  type UnitFacts,
} from '../../../../agent/service/unit-file.js';
import { skipFor } from '../../../support/skip.js';

const UNIT = 'etc/systemd/system/wardbeat-agent.service';
const FIREWALL_UNIT = 'etc/systemd/system/wardbeat-agent-firewall.service';
const FIREWALL_WANTS = 'etc/systemd/system/multi-user.target.wants/wardbeat-agent-firewall.service';
const WANTS = 'etc/systemd/system/multi-user.target.wants/wardbeat-agent.service';
const SYSUSERS = 'etc/sysusers.d/wardbeat-agent.conf';
const DIRECTORY = '/var/lib/wardbeat-agent';
const PROGRAM = { node: '/usr/bin/env', script: '/etc/hostname' };
const FACTS: UnitFacts = {
  program: PROGRAM,
  directory: DIRECTORY,
  user: 'wardbeat-agent',
  isUserOwn: true,
  notifies: true,
};
/** What an ordinary user may give a file to: itself. */
const OWN_ID = process.getuid?.() === 0 ? 54_321 : (process.getuid?.() ?? 1000);

interface FakeHost extends ServiceHost {
  readonly calls: string[];
}

/** A machine below a folder; what is run there is written down. */
function fakeHost(
  tree: string,
  changes: Partial<ServiceHost> & { readonly fails?: RegExp; readonly active?: boolean } = {},
): FakeHost {
  const calls: string[] = [];
  let hasUser = false;
  const { fails, active = false, ...more } = changes;
  return {
    calls,
    isRoot: true,
    isBooted: true,
    tree,
    has: () => true,
    run(command, args) {
      const call = [command, ...args].join(' ');
      const no = { status: 1, stdout: '', stderr: 'no' };
      if (fails?.test(call)) {
        calls.push(call);
        return no;
      }
      if (command === 'id') return hasUser ? { status: 0, stdout: `${OWN_ID}\n`, stderr: '' } : no;
      if (/is-(active|enabled)/.test(call)) return active ? { status: 0, stdout: '', stderr: '' } : no;
      calls.push(call.replaceAll(tree, ''));
      if (command === 'systemd-sysusers' || command === 'useradd') hasUser = true;
      if (command === 'userdel') hasUser = false;
      return { status: 0, stdout: '', stderr: '' };
    },
    ...more,
  };
}

describe('the unit of the agent', () => {
  it('says how systemd runs it: ready by its own word, watched, restarted, with one capability', () => {
    const text = unitText(FACTS);
    for (const line of [
      'Type=notify',
      'NotifyAccess=all',
      'WatchdogSec=120',
      'Restart=always',
      'User=wardbeat-agent',
      'AmbientCapabilities=CAP_NET_ADMIN',
      'CapabilityBoundingSet=CAP_NET_ADMIN',
      'NoNewPrivileges=yes',
      'ProtectSystem=strict',
      'PrivateTmp=yes',
      'StateDirectory=wardbeat-agent',
      'ConditionPathExists=/var/lib/wardbeat-agent/identity.json',
      'ExecStart=/usr/bin/env /etc/hostname run --dir /var/lib/wardbeat-agent',
    ])
      expect(text.split('\n')).to.include(line);
    expect(readUnit(text)).to.deep.equal({ directory: DIRECTORY, user: 'wardbeat-agent', isUserOwn: true });
    expect(readUnit('[Service]\nUser=x\n')).to.equal(undefined);
  });

  it('names another folder as one that may be written, and quotes what systemd would take apart', () => {
    const text = unitText({ ...FACTS, directory: '/srv/a b/100%', notifies: false });
    expect(text).to.contain('ReadWritePaths="/srv/a b/100%%"');
    expect(text).to.contain('run --dir "/srv/a b/100%%"');
    expect(text).to.contain('Type=exec').and.not.to.contain('WatchdogSec');
    expect(readUnit(text)?.directory).to.equal('/srv/a b/100%');
    const odd = unitText({ ...FACTS, program: { node: '/opt/no"de', script: '/opt/$x\\y' } });
    expect(odd).to.contain('ExecStart="/opt/no\\"de" "/opt/$$x\\\\y" run');
  });

  it('declares its user in a line that systemd reads, wherever its data are', function () {
    if (spawnSync('systemd-sysusers', ['--version']).status !== 0) skipFor(this, 'systemd-sysusers');
    const folder = mkdtempSync(join(tmpdir(), 'wardbeat-user-'));
    mkdirSync(join(folder, 'etc'));
    const directory = '/srv/a b/100%"x\\y';
    writeFileSync(join(folder, 'user.conf'), sysusersText({ user: 'watcher', directory }));
    const made = spawnSync('systemd-sysusers', [`--root=${folder}`, join(folder, 'user.conf')], { encoding: 'utf8' });
    const users = readFileSync(join(folder, 'etc/passwd'), 'utf8');
    rmSync(folder, { recursive: true });
    expect(made.status, made.stderr).to.equal(0);
    expect(users).to.contain(`:Wardbeat agent:${directory}:/usr/sbin/nologin\n`);
  });

  it('has its firewall loaded as it stood before there is a network, by the same user with the same capability', () => {
    const text = firewallUnitText(FACTS);
    for (const line of [
      'DefaultDependencies=no',
      'Wants=network-pre.target',
      'Before=network-pre.target shutdown.target',
      'After=local-fs.target nftables.service',
      'ConditionPathExists=/var/lib/wardbeat-agent/identity.json',
      'ConditionPathExists=|/var/lib/wardbeat-agent/firewall.json',
      'ConditionPathExists=|/var/lib/wardbeat-agent/isolation.json',
      'Type=oneshot',
      'RemainAfterExit=yes',
      'User=wardbeat-agent',
      'AmbientCapabilities=CAP_NET_ADMIN',
      'ExecStart=/usr/bin/env /etc/hostname restore-firewall --dir /var/lib/wardbeat-agent',
    ])
      expect(text.split('\n')).to.include(line);
    // What is on a disk of the network must not be waited for by what the network waits for.
    expect(text).not.to.match(/^(?:PrivateTmp|StateDirectory|RequiresMountsFor)|network-online/m);
    expect(unitText(FACTS)).to.contain('After=network-online.target wardbeat-agent-firewall.service');
  });

  for (const directory of [DIRECTORY, '/srv/a b/100%'])
    it(`is one that systemd takes without a word, and is well shut in, for ${directory}`, function () {
      this.timeout(60_000);
      if (spawnSync('systemd-analyze', ['--version']).status !== 0) skipFor(this, 'systemd-analyze');
      const folder = mkdtempSync(join(tmpdir(), 'wardbeat-unit-'));
      const facts = { ...FACTS, directory, user: 'root' };
      const units = { 'wardbeat-agent': unitText(facts), 'wardbeat-agent-firewall': firewallUnitText(facts) };
      const paths = Object.entries(units).map(([name, text]) => {
        const path = join(folder, `${name}.service`);
        writeFileSync(path, text.replace('User=root', 'User=nobody').replace('Group=root', 'Group=nogroup'));
        return path;
      });
      const env = { ...process.env, SYSTEMD_LOG_LEVEL: 'warning' };
      const verified = spawnSync('systemd-analyze', ['verify', ...paths], { encoding: 'utf8', env });
      const ofUnit = verified.stderr.split('\n').filter((line) => /wardbeat-agent|cycle/.test(line));
      expect(ofUnit, verified.stderr).to.deep.equal([]);
      const judged = paths.map((path) =>
        spawnSync('systemd-analyze', ['security', '--offline=true', '--threshold=30', '--no-pager', path], {
          encoding: 'utf8',
          env,
        }),
      );
      rmSync(folder, { recursive: true });
      for (const { stderr, stdout, status } of judged) {
        if (/unrecognized option|Unknown|not supported/i.test(stderr))
          skipFor(this, 'systemd-analyze security --offline');
        expect(status, stdout.split('\n').slice(-3).join('\n') + stderr).to.equal(0);
      }
    });
});

describe('the machine that a service is installed on', () => {
  it('has the programs of the system, whatever PATH root was left with', function () {
    const program = readdirSync('/usr/sbin').find((name) => !existsSync(join('/usr/bin', name)));
    if (program === undefined) return skipFor(this, 'a /usr/sbin of its own');
    expect(systemHost('/usr/bin').has(program)).to.equal(true);
    expect(systemHost('').has('no-such-program')).to.equal(false);
    expect(systemHost('/usr/bin:/bin').run('sh', ['-c', 'echo $0']).stdout).to.match(/^\/(?:usr\/)?bin\/sh\n$/);
  });
});

describe('the installation of the service', () => {
  let tree: string;
  let host: FakeHost;
  const at = (path: string) => join(tree, path);
  const options = (changes: Partial<InstallOptions> = {}): InstallOptions => ({
    host,
    program: PROGRAM,
    directory: DIRECTORY,
    user: 'wardbeat-agent',
    root: undefined,
    isRunningElsewhere: false,
    ...changes,
  });
  const everything = () =>
    readdirSync(tree, { recursive: true, encoding: 'utf8' })
      .filter((path) => !lstatSync(at(path)).isDirectory())
      .map((path) => `${path} ${lstatSync(at(path)).isSymbolicLink() ? 'link' : readFileSync(at(path), 'utf8')}`)
      .sort();
  const faultsOf = (changes: Partial<InstallOptions>): readonly string[] => {
    try {
      installService(options(changes));
    } catch (error) {
      if (error instanceof ServiceFault) return error.faults;
      throw error;
    }
    return [];
  };

  beforeEach(() => {
    tree = mkdtempSync(join(tmpdir(), 'wardbeat-install-'));
    mkdirSync(at('var/lib'), { recursive: true });
    host = fakeHost(tree);
  });
  afterEach(() => rmSync(tree, { recursive: true, force: true }));

  it('prints no unit of a user or folder that no installation takes', () => {
    expect(plannedFiles(options()).join('\n')).to.contain('u wardbeat-agent - ');
    for (const changes of [{ user: 'root' }, { user: 'a b;c' }, { directory: '/' }, { directory: '/home/x' }])
      expect(() => plannedFiles(options(changes)), JSON.stringify(changes)).to.throw(ServiceFault);
  });

  const enrolled = () => {
    mkdirSync(at(`${DIRECTORY}/store`), { recursive: true });
    chmodSync(at(DIRECTORY), 0o750);
    writeFileSync(at(`${DIRECTORY}/identity.json`), '{}');
    writeFileSync(at(`${DIRECTORY}/store/000001.log`), 'x');
  };

  it('makes user, folder and unit, and starts what is enrolled; done again it changes nothing', () => {
    enrolled();
    const said = installService(options());
    expect(said.join('\n')).to.match(
      /made the user.*\n(?:gave .*\n)?(?:wrote .*\n){2}enabled the service\nstarted it$/,
    );
    expect(host.calls).to.deep.equal([
      'systemd-sysusers /etc/sysusers.d/wardbeat-agent.conf',
      'systemctl daemon-reload',
      'systemctl enable --quiet wardbeat-agent.service wardbeat-agent-firewall.service',
      'systemctl restart wardbeat-agent.service',
    ]);
    expect(statSync(at(UNIT)).mode & 0o777).to.equal(0o644);
    for (const path of ['', '/store', '/identity.json', '/store/000001.log'])
      expect(statSync(at(DIRECTORY + path)).uid, path).to.equal(OWN_ID);
    // Nothing of the service's own user is changed, and that one is who runs this where it is not root.
    expect(statSync(at(DIRECTORY)).mode & 0o777).to.equal(process.getuid?.() === 0 ? 0o700 : 0o750);
    const before = everything();
    const again = installService(options({ host: { ...fakeHost(tree, { active: true }), run: hostWithUser(tree) } }));
    expect(again.join('\n')).to.contain('is as it should be').and.contain('it runs');
    expect(everything()).to.deep.equal(before);
  });

  const hostWithUser = (folder: string): ServiceHost['run'] => {
    const other = fakeHost(folder, { active: true });
    other.run('useradd', []);
    return (command, args) => other.run(command, args);
  };

  it('does not start what is not enrolled, nor where systemd does not run, and says so', () => {
    expect(installService(options()).at(-1)).to.match(/^not started: .* is not enrolled/);
    expect(host.calls).not.to.include('systemctl restart wardbeat-agent.service');
    host = fakeHost(tree, { isBooted: false });
    expect(installService(options()).at(-1)).to.contain('systemd does not run here');
    expect(host.calls.filter((call) => call.startsWith('systemctl'))).to.deep.equal([]);
  });

  it('finds every fault before it changes anything', () => {
    const before = everything();
    mkdirSync(at('var/lib/other'));
    writeFileSync(at('var/lib/other/precious'), 'x');
    const rows: readonly [Partial<InstallOptions>, RegExp][] = [
      [{ host: fakeHost(tree, { isRoot: false }) }, /installed by root/],
      [{ user: 'root' }, /no name for a user/],
      [{ user: 'a b' }, /no name for a user/],
      [{ directory: '/home/x/agent' }, /lies in \/home/],
      [{ directory: '/tmp/agent' }, /lies in \/tmp/],
      [{ directory: '/etc' }, /folder of the system/],
      [{ directory: '/var/lib/other' }, /neither empty nor the data directory/],
      [{ directory: '/var/nowhere/agent' }, /\/var\/nowhere is not there/],
      [{ program: { ...PROGRAM, script: '/root/main.js' } }, /main\.js/],
      [{ host: fakeHost(tree, { has: () => false }) }, /systemctl is not installed/],
      [{ host: fakeHost(tree, { has: () => false }) }, /neither systemd-sysusers nor useradd/],
      [{ directory: '/srv/agent', root: tree }, /must lie below \/var\/lib/],
      [{ root: join(tree, 'absent') }, /is not there/],
      [
        { root: tree, program: { node: '/root/bin/node', script: '/tmp/agent/main.js' } },
        /node lies in \/root.*\n.*main.js lies in \/tmp/,
      ],
      [{ root: tree, program: { ...PROGRAM, script: at('tmp/main.js') } }, /^\/tmp\/main.js lies in \/tmp/],
      [{ isRunningElsewhere: true }, /runs on .* already/],
    ];
    for (const [changes, expected] of rows) expect(faultsOf(changes).join('\n'), String(expected)).to.match(expected);
    expect(host.calls).to.deep.equal([]);
    expect(everything()).to.deep.equal([...before, 'var/lib/other/precious x'].sort());
  });

  it('refuses a link in the place of the folder', () => {
    mkdirSync(at('etc'));
    symlinkSync(at('etc'), at(DIRECTORY));
    expect(faultsOf({}).join()).to.contain('is not a directory');
  });

  for (const fails of [/systemd-sysusers/, /daemon-reload/, /enable/, /restart/])
    it(`puts back what it changed where ${fails.source} fails`, () => {
      enrolled();
      chmodSync(at(DIRECTORY), 0o750);
      const before = everything();
      const owner = statSync(at(`${DIRECTORY}/identity.json`)).uid;
      host = fakeHost(tree, { fails });
      expect(() => installService(options())).to.throw(ServiceFailure, 'was put back');
      expect(everything()).to.deep.equal(before);
      expect(statSync(at(`${DIRECTORY}/identity.json`)).uid).to.equal(owner);
      expect(statSync(at(DIRECTORY)).mode & 0o777).to.equal(0o750);
      if (fails.source !== 'systemd-sysusers') expect(host.calls).to.include('userdel wardbeat-agent');
    });

  it('puts a former unit back and starts it again', () => {
    enrolled();
    mkdirSync(at('etc/systemd/system'), { recursive: true });
    writeFileSync(at(UNIT), '[Service]\nExecStart=/bin/former\n');
    let restarts = 0;
    host = fakeHost(tree, { active: true });
    const { run } = host;
    const failing: ServiceHost = {
      ...host,
      run: (command, args) =>
        args[0] === 'restart' && (restarts += 1) === 1 ? { status: 1, stdout: '', stderr: 'no' } : run(command, args),
    };
    expect(() => installService(options({ host: failing }))).to.throw(ServiceFailure);
    expect(readFileSync(at(UNIT), 'utf8')).to.contain('/bin/former');
    expect(restarts).to.equal(2);
  });

  it('below another root writes unit, user and link, twice the same, and runs nothing', () => {
    const packed = options({ root: tree, program: { node: '/usr/bin/node', script: at('usr/lib/agent/main.js') } });
    const wrote = installService(packed);
    expect(wrote[1]).to.equal(`wrote ${at(UNIT)}`);
    const first = everything();
    const told = installService(packed);
    expect(told.slice(0, 3)).to.deep.equal([
      `${at(SYSUSERS)} is as it should be`,
      `${at(UNIT)} is as it should be`,
      `${at(FIREWALL_UNIT)} is as it should be`,
    ]);
    expect([wrote.at(-1)?.split(';')[0], told.at(-1)?.split(';')[0]]).to.deep.equal([
      'enabled the service',
      'the service is enabled',
    ]);
    expect(everything()).to.deep.equal(first);
    expect(installService({ ...packed, user: 'watcher' })[1]).to.equal(`wrote ${at(UNIT)}`);
    installService(packed);
    expect(host.calls).to.deep.equal([]);
    expect(readFileSync(at(UNIT), 'utf8')).to.contain('ExecStart=/usr/bin/node /usr/lib/agent/main.js run');
    expect(readFileSync(at(FIREWALL_UNIT), 'utf8')).to.contain('/usr/lib/agent/main.js restore-firewall --dir');
    expect(readlinkSync(at(WANTS))).to.equal('../wardbeat-agent.service');
    expect(readlinkSync(at(FIREWALL_WANTS))).to.equal('../wardbeat-agent-firewall.service');
    expect(readFileSync(at('etc/sysusers.d/wardbeat-agent.conf'), 'utf8')).to.match(/^u wardbeat-agent - /);
    expect(uninstallService({ host, root: tree, purge: true })).to.deep.equal([
      `removed ${at(UNIT)}`,
      `removed ${at(FIREWALL_UNIT)}`,
      `there is no ${at(DIRECTORY)}`,
    ]);
    expect(everything()).to.deep.equal([]);
  });

  it('is undone by an uninstallation, which keeps the data unless told otherwise', () => {
    enrolled();
    installService(options());
    host.calls.length = 0;
    const told = uninstallService({ host, root: undefined, purge: false });
    expect(told).to.include.members([
      `kept ${at(DIRECTORY)}: --purge removes it`,
      "removed the firewall's table inet wardbeat",
    ]);
    expect(host.calls).to.deep.equal([
      'systemctl disable --now --quiet wardbeat-agent.service wardbeat-agent-firewall.service',
      'systemctl daemon-reload',
      'nft delete table inet wardbeat',
      'nft delete table arp wardbeat',
    ]);
    expect([UNIT, FIREWALL_UNIT, DIRECTORY].map((path) => existsSync(at(path)))).to.deep.equal([false, false, true]);
    expect(uninstallService({ host, root: undefined, purge: true })).to.deep.equal(['no service is installed']);
    // The user that it made is there already and is known again.
    installService(options());
    expect(uninstallService({ host, root: undefined, purge: true }).join('\n')).to.contain(`removed ${at(DIRECTORY)}`);
    expect(host.calls).to.include('userdel wardbeat-agent');
    expect([existsSync(at(DIRECTORY)), existsSync(at(SYSUSERS))]).to.deep.equal([false, false]);
  });

  for (const tool of ['systemd-sysusers', 'useradd'])
    it(`leaves a user alone that ${tool} made for another program`, () => {
      host = fakeHost(tree, { has: (command) => command !== 'systemd-sysusers' || command === tool });
      host.run(tool, []);
      installService(options());
      uninstallService({ host, root: undefined, purge: false });
      installService(options());
      uninstallService({ host, root: undefined, purge: true });
      expect(host.calls).not.to.include('userdel wardbeat-agent');
      expect(existsSync(at(SYSUSERS))).to.equal(false);
    });

  it('knows the user again that useradd made for it', () => {
    host = fakeHost(tree, { has: (command) => command !== 'systemd-sysusers' });
    installService(options());
    uninstallService({ host, root: undefined, purge: false });
    installService(options());
    uninstallService({ host, root: undefined, purge: true });
    expect(host.calls.at(-1)).to.equal('userdel wardbeat-agent');
  });

  it('removes the user that it made, with --purge', () => {
    installService(options());
    expect(uninstallService({ host, root: undefined, purge: true }).at(-1)).to.equal('removed the user wardbeat-agent');
  });

  it('purges nothing that is no agent’s, and leaves a unit of somebody else alone', () => {
    installService(options());
    writeFileSync(at(`${DIRECTORY}/precious`), 'x');
    expect(() => uninstallService({ host, root: undefined, purge: true })).to.throw(
      ServiceFault,
      'neither empty nor the data directory',
    );
    expect(existsSync(at(UNIT))).to.equal(true);
    writeFileSync(at(UNIT), '[Service]\nExecStart=/bin/true\n');
    expect(() => uninstallService({ host, root: undefined, purge: false })).to.throw(ServiceFault, 'by hand');
  });
});
