import { expect } from 'chai';
import { execFileSync, spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { dataDirectory, readIdentity } from '../../../agent/data-directory.js';
import { planRules } from '../../../agent/firewall/firewall-plan.js';
import { isolationFile } from '../../../agent/firewall/isolation-file.js';
import { scriptOf } from '../../../agent/firewall/nft-text.js';
import { tablesFile } from '../../../agent/firewall/tables-file.js';
import { ownerOf } from '../../../agent/identity-check.js';
import type { FirewallRule } from '../../../policies/firewall-rules.js';
import { effectiveSet } from '../../../policies/firewall-set.js';
import { FakeManager } from '../../support/agent-fake-manager.js';
import { enrollInProcess } from '../../support/agent-in-process.js';
import { temporaryFolder } from '../../support/agent-process.js';
import { NetworkWorld, namespacesMissing, type Namespace } from '../../support/namespaces.js';
import { skipFor } from '../../support/skip.js';

const HOST = '10.79.1.1';
const ALLOWED = '10.79.1.2';
const OTHER = '10.79.1.3';
const SSH: FirewallRule = {
  action: 'deny',
  direction: 'incoming',
  protocol: 'TCP',
  destination: { ports: [22] },
};
const RULES = scriptOf(planRules(effectiveSet([SSH], []), { targets: [], resolvers: [], gateways: [] }));

describe('the firewall at a boot, before there is an agent', function () {
  this.timeout(60_000);
  let folder: ReturnType<typeof temporaryFolder>;
  let world: NetworkWorld | undefined;
  let host: Namespace;
  let peer: Namespace;
  const directory = () => dataDirectory(join(folder.path, 'web1'));
  const owner = () => ownerOf(readIdentity(directory())!);

  beforeEach(async function () {
    const missing = namespacesMissing();
    if (missing !== undefined) skipFor(this, missing);
    folder = temporaryFolder();
    const manager = await FakeManager.start(folder.path);
    await enrollInProcess(directory(), manager);
    await manager.close();
    world = new NetworkWorld();
    [host, peer] = [world.space('host'), world.space('peer')];
    world.link(
      { space: host, device: 'e0', mac: '02:79:00:00:01:01', addresses: [`${HOST}/24`] },
      { space: peer, device: 'e0', mac: '02:79:00:00:01:02', addresses: [`${ALLOWED}/24`, `${OTHER}/24`] },
    );
    for (const port of [22, 80]) await host.ask({ op: 'listen', port });
  });
  afterEach(() => {
    world?.remove();
    world = undefined;
    folder?.remove();
  });

  /** As the unit runs it, but as root. */
  const restore = (): string => {
    const args = [resolve('dist/agent/main.js'), 'restore-firewall', '--dir', directory().path];
    const [program, words] = host.words(process.execPath, args);
    return execFileSync(program, [...words], { encoding: 'utf8' });
  };
  const into = (port: number, from = ALLOWED) => peer.ask({ op: 'connect', host: HOST, port, from });

  it('has nothing to do where nothing stood', async () => {
    expect(restore()).to.contain('No tables');
    expect(host.nft('list', 'tables').trim()).to.equal('');
    expect(await into(22)).to.equal('open');
  });

  it('stands as it stood, and needs neither database nor network for that', async () => {
    tablesFile(directory(), owner()).write({ loaded: { isIsolation: false, text: RULES.text }, rules: [SSH] });
    rmSync(directory().store, { recursive: true, force: true });
    host.ip('link', 'set', 'e0', 'down');
    expect(restore()).to.contain('stand as they stood');
    host.ip('link', 'set', 'e0', 'up');
    expect(host.nft('list', 'chain', 'inet', 'wardbeat', RULES.generation)).to.contain(RULES.generation);
    expect([(await into(22)) === 'open', await into(80)]).to.deep.equal([false, 'open']);
    restore();
    expect(host.nft('list', 'tables').trim(), 'twice the same').to.equal('table inet wardbeat');
  });

  it('isolates a computer that was to be isolated when it went down, but for its allow-list', async () => {
    tablesFile(directory(), owner()).write({ loaded: { isIsolation: false, text: RULES.text }, rules: [SSH] });
    isolationFile(directory(), owner()).write({ commandId: 'c1', since: 1, allow: [{ ip: ALLOWED }] });
    restore();
    expect([await into(80), (await into(80, OTHER)) === 'open']).to.deep.equal(['open', false]);
    expect(host.nft('list', 'chain', 'inet', 'wardbeat', 'forwarded')).to.contain('drop');
  });

  it('is not another identity’s, and says what nft refuses', () => {
    tablesFile(directory(), 'another/key').write({ loaded: { isIsolation: true, text: RULES.text } });
    expect(restore()).to.contain('No tables');
    tablesFile(directory(), owner()).write({ loaded: { isIsolation: false, text: 'nonsense' } });
    const [program, words] = host.words(process.execPath, [
      resolve('dist/agent/main.js'),
      'restore-firewall',
      '--dir',
      directory().path,
    ]);
    const { status, stderr } = spawnSync(program, [...words], { encoding: 'utf8' });
    expect([status, stderr.includes('nft refused the rules')], stderr).to.deep.equal([1, true]);
  });
});
