import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { expect } from 'chai';
import express from 'express';
import { openAuthority } from '../../../certs/certificate-authority.js';
import { openManagerIdentity, type ManagerIdentity } from '../../../certs/manager-identity.js';
import { createSystemClock } from '../../../lib/clock.js';
import { createLog } from '../../../lib/log.js';
import { createSystemRandom } from '../../../lib/random.js';
import { createAdminServer, type AdminServer } from '../../../server/admin-api/admin-server.js';
import { createAdminTls } from '../../../server/admin-tls.js';

describe("the operator's certificate of the admin port", () => {
  const clock = createSystemClock();
  const log = createLog({ name: 'test', level: 'silent' });
  let dir: string;
  let admin: AdminServer;
  let own: ManagerIdentity;
  let first: ManagerIdentity;
  let second: ManagerIdentity;
  const cert = () => join(dir, 'admin.crt');
  const key = () => join(dir, 'admin.key');

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'wardbeat-admin-tls-'));
    const authority = await openAuthority({ dir, trustDomain: 'wardbeat', clock, random: createSystemRandom() });
    const leaf = (node: string) => {
      mkdirSync(join(dir, node));
      return openManagerIdentity({ dir: join(dir, node), authority, node, hosts: ['localhost'], clock });
    };
    [own, first, second] = [await leaf('m1'), await leaf('one'), await leaf('two')];
  });
  afterEach(() => admin.stop());
  after(() => rmSync(dir, { recursive: true, force: true }));

  const put = ({ certPem, keyPem }: ManagerIdentity) => {
    writeFileSync(cert(), certPem);
    writeFileSync(key(), keyPem);
  };
  const shown = async () => {
    const { port } = new URL(admin.url());
    const socket = connect({ host: '127.0.0.1', port: Number(port), rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    const pem = socket.getPeerX509Certificate()!.toString();
    socket.destroy();
    return [own, first, second].find(({ certPem }) => certPem.trim() === pem.trim());
  };
  const open = async ({ isGiven }: { readonly isGiven: boolean }) => {
    const adminTls = isGiven ? { certPath: cert(), keyPath: key() } : undefined;
    const tls = createAdminTls({ adminTls, adminHost: '0.0.0.0' }, own);
    admin = createAdminServer({ app: express(), host: '127.0.0.1', port: 0, log, clock, tls: tls.current() });
    await admin.start();
    let served = 0;
    const take = (identity: ManagerIdentity) =>
      tls.take(identity, (next) => {
        admin.useTls(next);
        served += 1;
      });
    return { tls, take, served: () => served };
  };

  it('is shown once another is in the place of its files, and told of as it is shown', async () => {
    put(first);
    const { tls, take, served } = await open({ isGiven: true });
    const told = { name: 'admin', notAfter: first.notAfter };
    expect(await shown()).to.equal(first);
    take(second);
    expect([served(), tls.certificates()]).to.deep.equal([0, [told]]);
    put(second);
    expect(tls.certificates()).to.deep.equal([told]);
    take(own);
    expect(tls.current()).to.include({ fingerprint: fingerprintOf(second) });
    expect(await shown()).to.equal(second);
  });

  it('stays what it is while the files make no sense, and is taken when they do', async () => {
    put(first);
    const { tls, take } = await open({ isGiven: true });
    writeFileSync(cert(), second.certPem);
    expect(() => take(own)).to.throw();
    expect(await shown(), 'the key is of another').to.equal(first);
    for (const text of ['', 'no certificate']) {
      writeFileSync(cert(), text);
      expect(() => take(own)).to.throw();
    }
    rmSync(cert());
    expect(() => take(own)).to.throw();
    expect(await shown()).to.equal(first);
    expect(tls.current()).to.include({ fingerprint: fingerprintOf(first) });
    put(second);
    take(own);
    expect(await shown()).to.equal(second);
  });

  it("is the manager's own leaf where none is given, and follows that", async () => {
    const { tls, take, served } = await open({ isGiven: false });
    expect(await shown()).to.equal(own);
    expect(tls.certificates()).to.deep.equal([]);
    take(own);
    expect(served()).to.equal(0);
    take(second);
    expect(await shown()).to.equal(second);
  });
});

const fingerprintOf = ({ certPem }: ManagerIdentity) =>
  new X509Certificate(certPem).fingerprint256.replaceAll(':', '').toLowerCase();
