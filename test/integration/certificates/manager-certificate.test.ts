import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { expect } from 'chai';
import { openManagerIdentity, type ManagerIdentity } from '../../../certs/manager-identity.js';
import { ExpectedFailure } from '../../../lib/expected-failure.js';
import { createLog } from '../../../lib/log.js';
import { createSystemRandom } from '../../../lib/random.js';
import { createAlertWriter } from '../../../server/alerts/alert-writer.js';
import {
  assertEnoughLife,
  authorityCertificates,
  createManagerCertificate,
  type OwnCertificate,
} from '../../../server/certificates/manager-certificate.js';
import { createHotTransaction } from '../../../server/database/hot-transaction.js';
import { createPoolUnitOfWork } from '../../../server/database/in-transaction.js';
import { startAgentPort, type AgentPort } from '../../support/agent-port.js';
import { useDatabase } from '../../support/database.js';
import { addComputers, seedForest, steadyReport } from '../../support/ingest-world.js';

const DAY_MS = 86_400_000;
const log = createLog({ name: 'test', level: 'silent' });

describe("the manager's own certificate", function () {
  this.timeout(30_000);
  const database = useDatabase();
  let port: AgentPort;
  let dir: string;

  before(async () => {
    await seedForest(database.pool);
    port = await startAgentPort(database.pool);
    dir = mkdtempSync(join(tmpdir(), 'wardbeat-leaf-'));
  });
  after(async () => {
    await port.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const reopen = () => {
    const clock = { wall: () => port.world.clock.now };
    return openManagerIdentity({ dir, authority: port.authority, node: 'node-1', hosts: ['localhost'], clock });
  };
  const made = async (others: () => OwnCertificate[] = () => [], again = reopen) => {
    const shown: ManagerIdentity[] = [];
    const random = createSystemRandom();
    const certificate = createManagerCertificate({
      node: 'node-1',
      identity: await reopen(),
      reopen: again,
      others,
      renew(identity) {
        shown.push(identity);
        port.server.renew(identity);
      },
      showAdmin: () => undefined,
      alerts: createAlertWriter({ random }),
      inTransaction: createHotTransaction(createPoolUnitOfWork(database.pool, { clock: port.world.clock, random })),
      fleetClock: port.world.clock,
      log,
    });
    return { certificate, shown };
  };
  const openAlerts = async () => {
    const { rows } = await database.pool.query<{ subject: string; detail: { certificate: string } }>(
      `SELECT subject, detail FROM alerts WHERE type = 'certificate-expiring' AND state = 'raised'`,
    );
    return rows.map(({ subject, detail }) => `${subject} ${detail.certificate}`);
  };

  it('is renewed while it runs, and no connection is dropped', async () => {
    const { certificate, shown } = await made();
    const [id = ''] = await addComputers(database.pool, 1);
    const { cert, key } = port.identityOf(id);
    const agent = new Agent({ keepAlive: true, maxSockets: 1, cert, key, ca: port.authority.rootPem });
    let sequence = 0;
    const beat = () =>
      new Promise<{ serial: string; socket: TLSSocket; status: number }>((resolve, reject) => {
        sequence += 1;
        const body = JSON.stringify({ ...steadyReport(port.world.clock.now), sequence });
        const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
        const at = { host: '127.0.0.1', port: port.server.port(), servername: 'localhost' };
        const sent = request({ ...at, path: '/agent/v1/heartbeat', method: 'POST', headers, agent }, (response) => {
          const socket = response.socket as TLSSocket;
          response.resume().on('end', () => {
            const { serialNumber: serial } = socket.getPeerCertificate();
            resolve({ serial, socket, status: response.statusCode ?? 0 });
          });
        });
        sent.on('error', reject).end(body);
      });
    await certificate.look();
    expect(shown).to.have.length(0);
    const first = await beat();
    port.world.clock.now += 300 * DAY_MS;
    await certificate.look();
    expect(shown).to.have.length(1);
    port.world.clock.now -= 300 * DAY_MS;
    const kept = await beat();
    expect([kept.status, kept.socket === first.socket, kept.serial === first.serial]).to.deep.equal([200, true, true]);
    agent.destroy();
    // It begins in the future that it was made in.
    const fresh = new Agent({ cert, key, rejectUnauthorized: false });
    expect(certificate.certificates()[0]?.notAfter).to.equal(shown[0]!.notAfter);
    await new Promise<void>((resolve, reject) => {
      const at = { host: '127.0.0.1', port: port.server.port(), servername: 'localhost', agent: fresh };
      request({ ...at, path: '/agent/v1/heartbeat', method: 'POST' }, (response) => {
        const { serialNumber } = (response.socket as TLSSocket).getPeerCertificate();
        response.resume().on('end', () => {
          expect(serialNumber).not.to.equal(first.serial);
          resolve();
        });
      })
        .on('error', reject)
        .end();
    });
    fresh.destroy();
  });

  it('raises an alert for what it cannot renew itself, and ends it when that was replaced', async () => {
    let others: OwnCertificate[] = [{ name: 'admin', notAfter: port.world.clock.now + 29 * DAY_MS }];
    const { certificate } = await made(() => others);
    await certificate.look();
    await certificate.look();
    expect(await openAlerts()).to.deep.equal(['manager/node-1 admin']);
    others = [{ name: 'admin', notAfter: port.world.clock.now + 200 * DAY_MS }];
    await certificate.look();
    expect(await openAlerts()).to.deep.equal([]);
  });

  it('raises an alert for its own where it cannot be renewed', async () => {
    const full = new Error('no space left on the device');
    const { certificate } = await made(undefined, () => Promise.reject(full));
    const { now } = port.world.clock;
    const end = certificate.certificates()[0]!.notAfter;
    const looked = () =>
      certificate.look().then(
        () => undefined,
        (error: unknown) => error,
      );
    port.world.clock.now = end - 31 * DAY_MS;
    expect(await looked(), 'the job says so').to.equal(full);
    expect(await openAlerts()).to.deep.equal([]);
    port.world.clock.now = end - 29 * DAY_MS;
    await looked();
    expect(await openAlerts()).to.deep.equal(['manager/node-1 manager']);
    port.world.clock.now = now;
  });

  it('lets no manager start that has less than a day of it, unless that is forced', () => {
    const now = port.world.clock.now;
    const start =
      (leftMs: number, isForced = false) =>
      () =>
        assertEnoughLife([{ name: 'admin', notAfter: now + leftMs }], { now, isForced, log });
    expect(start(DAY_MS - 1)).to.throw(ExpectedFailure, 'WARDBEAT_ALLOW_EXPIRING_CERTIFICATE');
    expect(start(DAY_MS - 1, true)).not.to.throw();
    expect(start(DAY_MS)).not.to.throw();
    expect(authorityCertificates(port.authority).map(({ name }) => name)).to.deep.equal(['intermediate', 'root']);
  });
});
