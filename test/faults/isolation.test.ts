import { expect } from 'chai';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

import { createNftFilter, FirewallRefused, type PacketFilter } from '../../agent/firewall/nft-program.js';
import { dataDirectory } from '../../agent/data-directory.js';
import { createSystemClock } from '../../lib/clock.js';
import { runAgentCli, type Elsewhere, type RunningAgent } from '../support/agent-cli.js';
import { composeInProcess } from '../support/agent-in-process.js';
import { AGENT, OTHER_MANAGER, PEER, SSH, useIsolationWorld, type IsolationWorld } from '../support/isolation-world.js';
import { eventually } from '../support/poll.js';
import { skipFor } from '../support/skip.js';

describe('the firewall of an agent, and its isolation', function () {
  this.timeout(240_000);
  const { parts, inward, outward, firewall, flags, isFlagged, order, applied, kindsOf, release } = useIsolationWorld();
  let { network, host, peer, world } = {} as IsolationWorld;
  before(() => ({ network, host, peer, world } = parts()));

  describe('that dials', () => {
    let id: string;
    let policy: string;
    let agent: RunningAgent;

    before(async () => {
      policy = await world.newPolicy('Dialling', { heartbeatIntervalSeconds: 5 });
      id = await world.enroll(policy, 'web1');
      agent = world.run('web1', [], host);
      await eventually('it is online', async () => (await world.computer(id)).status === 'online');
    });
    after(() => agent?.kill('SIGKILL'));

    it('shows the hidden rule, and loads nothing while nothing is wanted', async () => {
      await applied(id);
      expect((await firewall(id)).rules).to.deep.equal([
        {
          order: 1,
          name: 'Agent listener',
          action: 'bypass',
          priority: 4,
          direction: 'incoming',
          frameType: 'IP',
          protocol: 'TCP',
          source: { ip: [], mac: [], ports: [] },
          destination: { ip: [], mac: [], ports: [4118] },
          hidden: true,
        },
      ]);
      expect(host.nft('list', 'ruleset')).to.equal('');
    });

    it('proves rules by a connection of its own before they count, and keeps its contact under the worst', async () => {
      const worst = [
        SSH,
        { action: 'deny', priority: 4, direction: 'outgoing', frameType: 'any' },
        { action: 'deny', priority: 4, direction: 'incoming', frameType: 'any' },
      ];
      await world.edit(policy, { firewallRules: worst });
      await world.applied(id, 'the worst rules are committed');
      await applied(id);
      expect([await inward(80), await outward()]).to.not.include('open');
      host.ip('neigh', 'flush', 'dev', 'm0');
      await world.heardAgain(id);
      await world.edit(policy, { firewallRules: [SSH] });
      await world.applied(id, 'the mild rules are committed');
      await applied(id);
      // Neither kernel asks for an address again at once that did not answer under the worst.
      for (const space of [host, peer]) space.ip('neigh', 'flush', 'dev', 'e0');
      expect([await inward(), await inward(80), await outward()]).to.deep.equal(['silent', 'open', 'open']);
    });

    it('refuses rules that are none, and names what is wrong with them', async () => {
      const refused = await world
        .edit(policy, { firewallRules: [{ ...SSH, protocol: 'IPX' }] })
        .catch((error: unknown) => error);
      expect(String((refused as Error).message ?? refused)).to.contain('firewallRules/0/protocol');
    });

    it('isolates by command: the manager is left to it, and nothing else', async () => {
      expect(await host.ask({ op: 'hold', host: PEER, port: 443 })).to.equal('open');
      const isolated = await order(id, {
        type: 'isolate',
        args: { allow: [{ ip: PEER, ports: [8443], protocol: 'TCP' }] },
      });
      expect(isolated).to.include({ state: 'succeeded' });
      await isFlagged(id, true);
      expect([await inward(), await inward(80), await outward()]).to.not.include('open');
      expect(await host.ask({ op: 'say', host: PEER, port: 443 })).to.equal('silent');
      expect(await outward(8443)).to.equal('open');
      await world.heardAgain(id);
      expect((await firewall(id)).isolated).to.include({ commandId: isolated.id, by: 'admin' });
      const { items } = await world.manager.api.get<{ items: { id: string }[] }>('/computers?flag=isolated');
      expect(items.map((one) => one.id)).to.deep.equal([id]);
      expect(
        (await world.manager.api.get<{ items: unknown[] }>('/computers?flag=isolated,degraded')).items,
      ).to.deep.equal([]);
    });

    it('keeps it through a kill, and restores it before its first exchange', async () => {
      await agent.kill('SIGKILL');
      expect(await outward()).to.not.equal('open');
      // As a boot does.
      host.nft('flush', 'ruleset');
      expect(await outward()).to.equal('open');
      agent = world.run('web1', [], host);
      await eventually('it is cut off again', async () => (await outward()) !== 'open');
      await world.heardAgain(id);
      expect(await flags(id)).to.include('isolated');
      const { stdout } = await runAgentCli(['status', '--dir', world.directoryOf('web1'), '--json']);
      expect((JSON.parse(stdout) as { isolated: object }).isolated).to.have.keys('since', 'commandId');
    });

    it('follows its manager to another address meanwhile', async () => {
      const { port } = new URL(world.manager.agentUrl);
      await world.edit(policy, { managerUrls: [`https://${OTHER_MANAGER}:${port}`] });
      await world.applied(id, 'the new address is committed');
      await world.heardAgain(id);
      expect(await outward()).to.not.equal('open');
    });

    it('ends it by command, under the rules that it had', async () => {
      expect(await order(id, { type: 'release' })).to.include({ state: 'succeeded' });
      await isFlagged(id, false);
      expect([await inward(), await inward(80), await outward()]).to.deep.equal(['silent', 'open', 'open']);
      expect((await firewall(id)).isolated).to.equal(null);
      expect(await order(id, { type: 'release' })).to.include({ state: 'succeeded' });
    });

    it('ends it at the computer by its code, once', async () => {
      const ask = () => world.manager.api.post<{ code: string; command: string }>(`/computers/${id}/release-code`, {});
      const refused = await ask().catch((error: unknown) => error);
      expect(String((refused as Error).message ?? refused)).to.contain('not-isolated');
      await order(id, { type: 'isolate' });
      const { code, command } = await ask();
      expect(command).to.equal(`wardbeat-agent release --code ${code}`);
      expect(code).to.match(/^([0-9A-HJKMNP-TV-Z]{5}-){3}[0-9A-HJKMNP-TV-Z]{5}$/);
      const wrong = await release('web1', '00000-00000-00000-00000');
      expect([wrong.code, wrong.stderr]).to.deep.equal([
        4,
        'release-code-refused: This is not the code of the present isolation.\n',
      ]);
      expect(await outward()).to.not.equal('open');
      expect((await release('web1', code.toLowerCase().replaceAll('-', ' '))).code).to.equal(0);
      expect(await outward()).to.equal('open');
      await isFlagged(id, false);
      const again = await release('web1', code);
      expect([again.code, again.stderr]).to.deep.equal([4, 'not-isolated: This computer is not isolated.\n']);
      // The next isolation has another code.
      await order(id, { type: 'isolate' });
      expect((await release('web1', code)).code).to.equal(4);
      expect((await ask()).code).not.to.equal(code);
      await order(id, { type: 'release' });
      await eventually('all of it was told', async () => {
        const kinds = await kindsOf(id);
        return ['isolated', 'release-code-refused', 'isolation-ended'].every((kind) => kinds.includes(kind));
      });
      const audit = await world.manager.api.get<{ items: { action: string }[] }>('/audit?limit=100');
      const shownCodes = audit.items.filter(({ action }) => action === 'computer.release-code-shown');
      expect(shownCodes).to.have.length(2);
      expect(JSON.stringify(audit)).to.not.contain(code);
    });

    it('guesses no code by trying many', async () => {
      await order(id, { type: 'isolate' });
      const answers = [];
      for (let attempt = 0; attempt < 7; attempt += 1) answers.push((await release('web1', `wrong-${attempt}`)).stderr);
      expect(answers.at(-1)).to.contain('Too many codes were tried');
      await order(id, { type: 'release' });
    });
  });

  describe('that waits to be dialled', () => {
    let id: string;
    let policy: string;
    let agent: RunningAgent;

    before(async () => {
      policy = await world.newPolicy('Dialled', {
        communicationDirection: 'managerInitiated',
        heartbeatIntervalSeconds: 5,
      });
      id = await world.enroll(policy, 'web2');
      await patchAddress(id, AGENT);
      agent = world.run('web2', [], host);
      await world.inForce('managerInitiated', { id, name: 'web2' });
    });
    after(() => agent?.kill('SIGKILL'));

    async function patchAddress(computerId: string, address: string): Promise<void> {
      await world.manager.api.patch(`/computers/${computerId}`, { address });
    }

    it('is dialled under rules that close everything', async () => {
      await world.edit(policy, {
        firewallRules: [{ action: 'allow', direction: 'incoming', protocol: 'TCP', destination: { ports: [80] } }],
      });
      await world.applied(id, 'the rules are committed');
      await applied(id);
      await world.heardAgain(id);
      expect([await inward(), await inward(80)]).to.deep.equal(['silent', 'open']);
    });

    it('is dialled while it is isolated, and released', async () => {
      expect(await order(id, { type: 'isolate' })).to.include({ state: 'succeeded' });
      await isFlagged(id, true);
      expect([await inward(80), await outward()]).to.not.include('open');
      await world.heardAgain(id);
      expect(await order(id, { type: 'release' })).to.include({ state: 'succeeded' });
      await isFlagged(id, false);
    });
  });

  describe('of an ordinary user', () => {
    const ORDINARY = '65534';
    /** As systemd does by `AmbientCapabilities=`. */
    const ordinary = (capabilities: string): Elsewhere => ({
      words: (program, args) =>
        host.words(
          'setpriv',
          ['--reuid', ORDINARY, '--regid', ORDINARY, '--clear-groups', '--inh-caps', capabilities]
            .concat(['--ambient-caps', capabilities, '--', program])
            .concat(args),
        ),
    });

    for (const [name, capabilities, state] of [
      ['with the one capability', '-all,+net_admin', 'applied'],
      ['without any', '-all', 'unsupported'],
    ] as const)
      it(`is ${state} ${name}, and the agent is in contact`, async function () {
        const [program, words] = ordinary(capabilities).words(process.execPath, ['dist/agent/main.js', '--version']);
        if (spawnSync(program, [...words]).status !== 0)
          skipFor(this, 'setpriv, and a Node.js that other users can run');
        const policy = await world.newPolicy(`Ordinary ${state}`, {
          heartbeatIntervalSeconds: 5,
          firewallRules: [SSH],
        });
        const id = await world.enroll(policy, `ordinary-${state}`);
        chmodSync(join(world.directoryOf(`ordinary-${state}`), '..'), 0o711);
        own(world.directoryOf(`ordinary-${state}`), Number(ORDINARY));
        host.nft('flush', 'ruleset');
        const agent = world.run(`ordinary-${state}`, [], ordinary(capabilities));
        await eventually('it is online', async () => (await world.computer(id)).status === 'online');
        await eventually('it says how it is', async () => (await firewall(id)).state === state);
        expect(await inward()).to.equal(state === 'applied' ? 'silent' : 'open');
        const shown = await world.computer(id);
        const part = shown.components.find((component) => component.name === 'firewall');
        expect(part?.state).to.equal(state === 'applied' ? 'online' : 'offline');
        if (state === 'unsupported') {
          expect((await firewall(id)).detail).to.contain('CAP_NET_ADMIN');
          expect(await order(id, { type: 'isolate' })).to.include({ state: 'failed', reason: 'not-supported' });
          expect(await flags(id)).to.not.include('isolated');
        }
        await agent.kill('SIGKILL');
      });
  });

  describe('that cannot load a set', () => {
    it('keeps the former in force, goes on with its heartbeats, and says so', async () => {
      const real = createNftFilter({ clock: createSystemClock(), places: [network.nftIn(host)] });
      const picky: PacketFilter = {
        ...real,
        load: (script) =>
          script.text.includes('6666')
            ? Promise.reject(new FirewallRefused('nft refused the rules: 6666'))
            : real.load(script),
      };
      const policy = await world.newPolicy('Picky', { heartbeatIntervalSeconds: 5, firewallRules: [SSH] });
      const id = await world.enroll(policy, 'picky');
      host.nft('flush', 'ruleset');
      const agent = await composeInProcess(dataDirectory(world.directoryOf('picky')), { packetFilter: picky });
      try {
        await agent.start();
        await world.applied(id, 'the good rules are committed');
        await applied(id);
        const before = host.nft('list', 'ruleset');
        await world.edit(policy, { firewallRules: [SSH, { ...SSH, destination: { ports: [6666] } }] });
        await eventually('it is said', async () => (await firewall(id)).state === 'failed');
        expect((await firewall(id)).detail).to.contain('6666');
        expect((await world.computer(id)).settingsState).to.equal('failed');
        expect(host.nft('list', 'ruleset')).to.equal(before);
        expect(await inward()).to.equal('silent');
        await world.heardAgain(id);
        const { components } = await world.computer(id);
        expect(components.find(({ name }) => name === 'firewall')?.state).to.equal('offline');
        await eventually('the alert is there', () => world.hasAlert(id, 'settings-reverted', 'raised'));
        expect(await kindsOf(id)).to.include.members(['firewall-failed', 'settings-reverted']);
        await world.edit(policy, { firewallRules: [SSH] });
        await applied(id);
      } finally {
        await agent.abort();
      }
    });
  });
});

function own(path: string, user: number): void {
  chownSync(path, user, user);
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) own(join(path, entry.name), user);
    else chownSync(join(path, entry.name), user, user);
}
