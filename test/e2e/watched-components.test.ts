import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

import { enrollAgent } from '../support/agent-cli.js';
import { spawnAgent, type AgentProcess } from '../support/agent-process.js';
import {
  ADMIN_PASSWORD,
  makeDataDir,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';
import { eventually } from '../support/poll.js';

interface Component {
  readonly name: string;
  readonly kind: string;
  readonly state: string;
}

interface Alert {
  readonly type: string;
  readonly reason: string;
  readonly detail: { readonly kind: string; readonly name: string };
}

const ABSENT_MODULE = 'wardbeat_absent';

describe('watched components', function () {
  this.timeout(120_000);
  const root = makeDataDir();
  const agentDir = join(root, 'agent');
  const bin = join(root, 'bin');
  const mark = `canary-${process.pid}`;
  const presentModule = existsSync('/sys/module') ? readdirSync('/sys/module')[0] : undefined;
  let manager: ManagerProcess;
  let agent: AgentProcess;
  let canary: ChildProcess;
  let computerId: string;

  const startCanary = () => spawn(process.execPath, ['-e', 'setInterval(() => 0, 1e6)', mark], { stdio: 'ignore' });
  const setUnit = (unit: string, state: string) => writeFileSync(join(bin, `${unit}.state`), state);
  const computer = () =>
    manager.api.get<{ components: Component[]; status: string; lastSeenAt: string }>(`/computers/${computerId}`);
  const stateOf = async (kind: string, name: string) =>
    (await computer()).components.find((component) => component.kind === kind && component.name === name)?.state;
  const become = (kind: string, name: string, state: string) =>
    eventually(`${kind} ${name} is ${state}`, async () => (await stateOf(kind, name)) === state);
  const alerted = async (state: string): Promise<string[]> => {
    const { items } = await manager.api.get<{ items: Alert[] }>(`/alerts?computerId=${computerId}&state=${state}`);
    const mine = items.filter(({ type }) => type === 'component-offline');
    return mine.map(({ detail }) => `${detail.kind} ${detail.name}`).sort();
  };
  const events = async (kind: string): Promise<string[]> => {
    const { items } = await manager.api.get<{ items: { kind: string; message: string }[] }>(
      `/computers/${computerId}/events?limit=500`,
    );
    return items.filter((event) => event.kind === kind).map(({ message }) => message);
  };

  before(async () => {
    mkdirSync(bin);
    const script = [
      '#!/bin/sh',
      `cd '${bin}'`,
      '[ -e hang ] && exec sleep 600',
      'while [ "$1" != -- ]; do shift; done; shift',
      'for unit; do',
      '  state=$(cat "$unit.state" 2>/dev/null) && load=loaded || { state=inactive; load=not-found; }',
      String.raw`  printf 'Id=%s\nLoadState=%s\nActiveState=%s\nSubState=x\n\n' "$unit" "$load" "$state"`,
      'done',
    ];
    writeFileSync(join(bin, 'systemctl'), `${script.join('\n')}\n`, { mode: 0o755 });
    setUnit('guard.service', 'active');
    setUnit('scan.timer', 'active');
    canary = startCanary();
    manager = await startManager({ dataDir: join(root, 'manager') });
    await manager.api.signIn('admin', ADMIN_PASSWORD);
    const policies = await manager.api.get<{ items: { id: string; name: string }[] }>('/policies');
    const policyId = policies.items.find(({ name }) => name === 'Base Policy')?.id ?? '';
    await manager.api.patch(`/policies/${policyId}/settings`, {
      heartbeatIntervalSeconds: 5,
      componentsWatched: [
        { name: 'canary', kind: 'process', match: mark },
        { name: 'tests', kind: 'process', match: 'mocha' },
        { name: 'guard', kind: 'systemdUnit', match: 'guard' },
        { name: 'scan', kind: 'systemdUnit', match: 'scan.timer' },
        { name: 'option', kind: 'systemdUnit', match: '--version' },
        { name: 'path', kind: 'kernelModule', match: '../../etc' },
        { name: 'absent', kind: 'kernelModule', match: ABSENT_MODULE },
        ...(presentModule === undefined ? [] : [{ name: 'present', kind: 'kernelModule', match: presentModule }]),
      ],
    });
    const body = { policyId, uses: 1, expiresInSeconds: 600 };
    const { token } = await manager.api.post<{ token: string }>('/enrollment-tokens', body);
    computerId = await enrollAgent(agentDir, { manager: manager.agentUrl, token, name: 'web1' });
    agent = spawnAgent(['run', '--dir', agentDir], {
      env: { PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}` },
    });
  });

  after(async () => {
    canary?.kill('SIGKILL');
    await agent?.kill('SIGKILL');
    await manager?.stop();
    removeDataDir(root);
  });

  it('are reported with their states, and the absent one alone raises an alert', async () => {
    await become('process', 'canary', 'online');
    await become('systemdUnit', 'guard', 'online');
    const { components } = await computer();
    const states = components.filter(({ kind }) => kind !== 'agentPart').map((c) => `${c.kind} ${c.name} ${c.state}`);
    expect(states.sort()).to.deep.equal(
      [
        'process canary online',
        'process tests online',
        'systemdUnit guard online',
        'systemdUnit scan online',
        'systemdUnit option unknown',
        'kernelModule path unknown',
        'kernelModule absent offline',
        ...(presentModule === undefined ? [] : ['kernelModule present online']),
      ].sort(),
    );
    expect(await alerted('raised')).to.deep.equal(['kernelModule absent']);
    expect(await events('component-down')).to.deep.equal(['absent is offline']);
  });

  it('raise an alert and an event when a process is killed, and resolve when it runs again', async () => {
    canary.kill('SIGKILL');
    await eventually('the alert is raised', async () => (await alerted('raised')).includes('process canary'));
    expect(await events('component-down')).to.include('canary is offline');
    canary = startCanary();
    await eventually('the alert is resolved', async () => (await alerted('resolved')).includes('process canary'));
    expect(await events('component-up')).to.deep.equal(['canary is online']);
  });

  it('raise an alert and an event when a unit fails, and resolve when it is active again', async () => {
    setUnit('guard.service', 'failed');
    await eventually('the alert is raised', async () => (await alerted('raised')).includes('systemdUnit guard'));
    setUnit('guard.service', 'active');
    await eventually('the alert is resolved', async () => (await alerted('resolved')).includes('systemdUnit guard'));
    expect(await events('component-down')).to.include('guard is offline');
    expect(await events('component-up')).to.include('guard is online');
    expect(await alerted('raised')).to.deep.equal(['kernelModule absent']);
  });

  it('are unknown while systemctl hangs, and the heartbeats come on time', async () => {
    writeFileSync(join(bin, 'hang'), '');
    const [contacts, statuses] = [new Set<string>(), new Set<string>()];
    await eventually(
      'the unit is unknown, and three contacts came',
      async () => {
        const { lastSeenAt, status } = await computer();
        statuses.add(status);
        contacts.add(lastSeenAt);
        return contacts.size > 3 && (await stateOf('systemdUnit', 'guard')) === 'unknown';
      },
      60_000,
    );
    const instants = [...contacts].map((at) => Date.parse(at));
    const gaps = instants.slice(1).map((at, index) => at - (instants[index] ?? at));
    expect(Math.max(...gaps)).to.be.lessThan(6_000);
    expect([...statuses]).to.deep.equal(['online']);
    expect(await alerted('raised')).to.not.include('systemdUnit guard');
    rmSync(join(bin, 'hang'));
    await become('systemdUnit', 'guard', 'online');
  });
});
