import { expect } from 'chai';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

import { openAuthority, type CertificateAuthority } from '../../../certs/certificate-authority.js';
import { openManagerIdentity } from '../../../certs/manager-identity.js';
import { TLS_OPTIONS } from '../../../certs/tls-profile.js';
import type { Identity } from '../../../agent/data-directory.js';
import type { TimeAnchor } from '../../../agent/state-store.js';
import { ManagerTransport } from '../../../agent/transport/manager-transport.js';
import { createSystemClock, type Clock } from '../../../lib/clock.js';
import { createSystemRandom } from '../../../lib/random.js';
import { temporaryFolder } from '../../support/agent-process.js';

const YEAR_MS = 365 * 86_400_000;
const system = createSystemClock();

/** The system's clock with another calendar. */
function shifted(ms: number): Clock {
  return { ...system, wall: () => system.wall() + ms };
}

describe("the dates of the manager's certificate", () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let server: Server;
  let identity: Identity;

  const authorityAt = (clock: Clock): Promise<CertificateAuthority> =>
    openAuthority({
      dir: join(folder.path, 'authority'),
      trustDomain: 'test.wardbeat',
      clock,
      random: createSystemRandom(),
    });

  const connectAt = async (wallShiftMs: number, anchor?: TimeAnchor) => {
    const transport = new ManagerTransport({
      identity,
      clock: shifted(wallShiftMs),
      bootId: 'this-boot',
      anchor: () => anchor,
    });
    const connection = await transport.connect(5000, new AbortController().signal);
    connection.close();
    return connection.warning?.code;
  };
  const anchorAt = (shiftMs: number, bootId = 'this-boot'): TimeAnchor => ({
    bootId,
    boot: system.boot(),
    managerWall: system.wall() + shiftMs,
  });
  const refusal = (attempt: Promise<unknown>): Promise<string> =>
    attempt.then(
      () => 'accepted',
      (error: { code: string }) => error.code,
    );

  before(async () => {
    folder = temporaryFolder();
    const authority = await authorityAt(system);
    const made = await openManagerIdentity({
      dir: join(folder.path, 'manager'),
      authority,
      node: 'node-1',
      hosts: ['localhost'],
      clock: system,
    });
    server = createServer({ ...TLS_OPTIONS, key: made.keyPem, cert: made.certPem + made.chainPem });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    identity = {
      computerId: '33333333-3333-4333-8333-333333333333',
      name: 'web1',
      policy: { id: '33333333-3333-4333-8333-333333333333', name: 'p' },
      trustDomain: 'test.wardbeat',
      managerUrls: [`https://127.0.0.1:${port}`],
      keyPem: made.keyPem,
      certificatePem: made.certPem,
      rootPem: authority.rootPem,
    };
  });

  after(() => {
    server.closeAllConnections();
    server.close();
    folder.remove();
  });

  it('are no matter while the clock is right', async () => {
    expect(await connectAt(0)).to.equal(undefined);
  });

  it('only warn a computer whose own clock is all there is', async () => {
    expect(await connectAt(3 * YEAR_MS)).to.equal('tls-expired');
    expect(await connectAt(-50 * YEAR_MS)).to.equal('tls-not-yet-valid');
    expect(await connectAt(3 * YEAR_MS, anchorAt(0, 'an-earlier-boot'))).to.equal('tls-expired');
  });

  it('are judged by the time that the manager told since this boot, not by a stepped clock', async () => {
    expect(await connectAt(3 * YEAR_MS, anchorAt(0))).to.equal(undefined);
    expect(await refusal(connectAt(3 * YEAR_MS, anchorAt(3 * YEAR_MS)))).to.equal('tls-expired');
  });

  it('only warn where the manager told a wrong time once', async () => {
    expect(await connectAt(0, anchorAt(3 * YEAR_MS))).to.equal('tls-expired');
  });

  it('count on resumed sessions too', async () => {
    let shiftMs = 0;
    const clock = { ...system, wall: () => system.wall() + shiftMs };
    const anchor = () => anchorAt(shiftMs);
    const transport = new ManagerTransport({ identity, clock, bootId: 'this-boot', anchor });
    const resumed: boolean[] = [];
    server.on('secureConnection', (socket) => resumed.push(socket.isSessionReused()));
    server.on('request', (_request, response) => response.end('{}'));
    const { signal } = new AbortController();
    const exchange = async () => {
      const connection = await transport.connect(5000, signal);
      await connection.post('/', '{}', signal).finally(() => connection.close());
    };
    for (let turn = 0; turn < 2; turn += 1) expect(await refusal(exchange())).to.equal('accepted');
    expect(resumed).to.deep.equal([false, true]);
    shiftMs = 3 * YEAR_MS;
    expect(await refusal(exchange())).to.equal('tls-expired');
  });

  it('never excuse another trust domain', async () => {
    const kept = identity;
    identity = { ...identity, trustDomain: 'other.wardbeat' };
    expect(await refusal(connectAt(0))).to.equal('tls-unknown-ca');
    identity = kept;
  });
});
