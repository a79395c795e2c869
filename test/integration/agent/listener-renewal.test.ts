import { createPrivateKey, createPublicKey, createHash, X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { readSigningRequest } from '../../../certs/csr.js';
import type { Daemon } from '../../../agent/daemon.js';
import { dataDirectory, readIdentity } from '../../../agent/data-directory.js';
import { LISTENER_PATHS } from '../../../protocol/protocol-version.js';
import type { RenewRequest } from '../../../protocol/renewal-messages.js';
import { FakeManager } from '../../support/agent-fake-manager.js';
import { composeInProcess, enrollInProcess } from '../../support/agent-in-process.js';
import { temporaryFolder, until } from '../../support/agent-process.js';
import { dial, ListenerDialer, managerIdentity, openRaw } from '../../support/listener-dialer.js';

describe('an agent that is dialled for a renewal', function () {
  this.timeout(60_000);
  let folder: ReturnType<typeof temporaryFolder>;
  let manager: FakeManager;
  let daemon: Daemon;

  const directory = () => dataDirectory(join(folder.path, 'web1'));
  const port = () => daemon.status().listener.port!;
  const target = () => ({ port: port(), computerId: daemon.computerId });

  beforeEach(async () => {
    folder = temporaryFolder();
    manager = await FakeManager.start(folder.path);
    await enrollInProcess(directory(), manager);
    manager.setSettings({ communicationDirection: 'bidirectional', connectionMode: 'perHeartbeat' });
    daemon = await composeInProcess(directory(), { listenerPort: 0 });
    await daemon.start();
    await until(
      'it listens and was heard',
      () => daemon.status().listener.state === 'listening' && manager.reports.length > 1,
    );
  });
  afterEach(async () => {
    await daemon.abort();
    await manager.close();
    folder.remove();
  });

  /** An exchange of the agent's own, which a renewal begins, may be in flight. */
  const dialled = async (): Promise<void> => {
    let answer = await dial(manager, target());
    await until('its own exchange has ended', async () => {
      if (answer.code === 'exchange-in-progress') answer = await dial(manager, target());
      return answer.code !== 'exchange-in-progress';
    });
    expect(answer.status).to.equal(204);
  };

  const ask = async () => {
    const dialer = new ListenerDialer(port(), managerIdentity(manager));
    const base = { protocolVersion: 1, computerId: daemon.computerId };
    const post = (body: object) => dialer.post(body, { path: LISTENER_PATHS.renewal });
    return { dialer, base, post };
  };
  const shown = async (): Promise<string> => {
    const { socket } = await openRaw(port(), managerIdentity(manager));
    const { serialNumber } = socket.getPeerX509Certificate()!;
    socket.destroy();
    return serialNumber.toLowerCase();
  };

  it('asks with the key in use, and shows what it was brought from the next connection on', async () => {
    const before = readIdentity(directory())!;
    const { dialer, base, post } = await ask();
    const answer = await post(base);
    expect(answer.status).to.equal(200);
    const { csr } = JSON.parse(answer.body.toString('utf8')) as RenewRequest;
    const { keyDigest, spkiDer } = readSigningRequest(csr);
    const own = createPublicKey(createPrivateKey(before.keyPem)).export({ type: 'spki', format: 'der' });
    expect(keyDigest).to.equal(createHash('sha256').update(own).digest('hex'));
    const { authority } = manager;
    const issued = authority.issueComputer({ computerId: daemon.computerId, spkiDer, lifetimeDays: 30 });
    const renewed = { certificate: issued.pem, chain: [authority.intermediatePem, authority.rootPem] };
    expect((await post({ ...base, renewed })).status).to.equal(204);
    dialer.close();
    expect(await shown()).to.equal(issued.serial);
    await dialled();
    await until('it is put in place', () => !existsSync(directory().renewalFile));
    expect(daemon.status().certificate.serial).to.equal(issued.serial);
    expect(readIdentity(directory())!.keyPem).to.equal(before.keyPem);
  });

  it('keeps what it has where it is brought another computer’s, another key’s, or nonsense', async () => {
    const { serial } = daemon.status().certificate;
    const { authority } = manager;
    const own = new X509Certificate(readIdentity(directory())!.certificatePem);
    const spkiDer = own.publicKey.export({ type: 'spki', format: 'der' });
    const otherId = '99999999-9999-4999-8999-999999999999';
    const other = authority.issueComputer({ computerId: otherId, spkiDer, lifetimeDays: 30 });
    const chain = [authority.intermediatePem, authority.rootPem];
    for (const certificate of [other.pem, authority.rootPem, 'nonsense']) {
      const { dialer, base, post } = await ask();
      expect((await post({ ...base, renewed: { certificate, chain } })).status).to.equal(204);
      dialer.close();
      expect(await shown()).to.equal(serial);
    }
    await dialled();
    expect(daemon.status().certificate.serial).to.equal(serial);
  });

  it('answers nobody but a manager, and nobody who means another computer', async () => {
    const stranger = new ListenerDialer(port(), undefined);
    const call = { protocolVersion: 1, computerId: daemon.computerId };
    expect((await stranger.post(call, { path: LISTENER_PATHS.renewal })).code).to.equal('certificate-required');
    stranger.close();
    const { dialer, base, post } = await ask();
    const answer = await post({ ...base, computerId: '99999999-9999-4999-8999-999999999999' });
    expect(answer.code).to.equal('identity-mismatch');
    dialer.close();
  });

  it('answers no address any more that was taken off the list, on a connection that is open too', async () => {
    const { dialer, base, post } = await ask();
    expect((await post(base)).status).to.equal(200);
    manager.setSettings({
      communicationDirection: 'bidirectional',
      connectionMode: 'perHeartbeat',
      listenerAllowedSources: ['10.0.0.0/8'],
    });
    await dialled();
    expect((await post(base)).code).to.equal('forbidden');
    expect(dialer.sockets.size).to.equal(1);
    dialer.close();
  });
});
