import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { createPrivateKey } from 'node:crypto';
import { join } from 'node:path';

import type { AgentOptions } from '../../../agent/agent-options.js';
import type { Daemon } from '../../../agent/daemon.js';
import { dataDirectory, readIdentity } from '../../../agent/data-directory.js';
import { createSystemClock } from '../../../lib/clock.js';
import { LISTENER_PATHS } from '../../../protocol/protocol-version.js';
import { FakeManager } from '../../support/agent-fake-manager.js';
import { composeInProcess, enrollInProcess } from '../../support/agent-in-process.js';
import { temporaryFolder, until } from '../../support/agent-process.js';
import {
  attackCertificates,
  knock,
  requestBytes,
  TLS_VERSIONS,
  type AttackCertificate,
  type CertificateFault,
  type Knock,
  type Knocked,
  type PresentedIdentity,
} from '../../support/certificate-attacks.js';
import { dial, ListenerDialer } from '../../support/listener-dialer.js';

const DAY_MS = 86_400_000;
const system = createSystemClock();

/** What any call is answered before it is looked at. */
const REFUSALS: Readonly<Record<Exclude<CertificateFault, 'none'>, string>> = {
  absent: '403 certificate-required',
  'unknown-authority': '403 certificate-refused',
  profile: '403 certificate-refused',
  expired: '403 clock-skew',
  'not-yet-valid': '403 clock-skew',
};

describe("certificates at an agent's listener", function () {
  this.timeout(60_000);
  const folder = temporaryFolder();
  let manager: FakeManager;
  let daemon: Daemon;
  let certificates: readonly AttackCertificate[];
  let elapsedMs = 0;
  // Both clocks at once, as time does.
  const clock = { ...system, wall: () => system.wall() + elapsedMs, boot: () => system.boot() + elapsedMs };

  const start = async (options: Partial<AgentOptions> = {}) => {
    daemon = await composeInProcess(dataDirectory(join(folder.path, 'web1')), { clock, listenerPort: 0, ...options });
    await daemon.start();
    await until('it listens', () => daemon.status().listener.state === 'listening');
  };
  const port = () => daemon.status().listener.port!;
  const first = () => ({ protocolVersion: 1, computerId: daemon.computerId });
  const enrollAs = (name: string) => enrollInProcess(dataDirectory(join(folder.path, name)), manager);
  const identityOf = (name: string): PresentedIdentity => {
    const { certificatePem, keyPem } = readIdentity(dataDirectory(join(folder.path, name)))!;
    return { cert: certificatePem, key: keyPem };
  };

  before(async () => {
    manager = await FakeManager.start(folder.path);
    manager.intervalMs = 3_600_000;
    await enrollAs('web1');
    await enrollAs('db1');
    const key = createPrivateKey(readFileSync(join(folder.path, 'authority', 'intermediate.pem')));
    certificates = [
      ...attackCertificates({
        intermediate: { key, x509: manager.authority.intermediate },
        trustDomain: manager.authority.trustDomain,
        role: 'manager',
        id: 'node-1',
        at: system.wall(),
      }),
      { name: "the agent's own", fault: 'profile', identity: identityOf('web1') },
      { name: "another agent's", fault: 'profile', identity: identityOf('db1') },
    ];
  });
  beforeEach(async () => {
    await start();
    await until('it was in contact', () => daemon.status().state === 'online');
  });
  afterEach(async () => {
    await daemon.abort();
    elapsedMs = 0;
  });
  after(async () => {
    await manager.close();
    folder.remove();
  });

  const good = () => certificates[0]!.identity!;

  /** The exchange that the last dial left behind takes a moment to end. */
  async function knockWhenFree(target: Knock): Promise<Knocked> {
    let knocked = await knock(target);
    await until('no exchange is in flight', async () => {
      if (knocked.outcome !== '409 exchange-in-progress') return true;
      knocked = await knock(target);
      return false;
    });
    return knocked;
  }

  const routes: readonly { readonly name: string; readonly bytes: () => string; readonly answer: string }[] = [
    { name: 'a dial', bytes: () => requestBytes('POST', LISTENER_PATHS.heartbeat, first()), answer: '200' },
    {
      name: 'orders',
      bytes: () => requestBytes('POST', LISTENER_PATHS.heartbeat, { ...first(), orders: {} }),
      answer: '400 request-invalid',
    },
    {
      name: 'another method',
      bytes: () => requestBytes('GET', LISTENER_PATHS.heartbeat),
      answer: '405 method-not-allowed',
    },
    {
      name: 'a call that is no JSON object',
      bytes: () => requestBytes('POST', LISTENER_PATHS.heartbeat, ['x']),
      answer: '400 request-invalid',
    },
    { name: 'the root', bytes: () => requestBytes('GET', '/'), answer: '404 route-not-found' },
    {
      name: "the manager's own route",
      bytes: () => requestBytes('POST', '/agent/v1/heartbeat', first()),
      answer: '404 route-not-found',
    },
  ];
  for (const { name, bytes, answer } of routes)
    for (const version of TLS_VERSIONS)
      it(`are judged alike on fresh ${version} connections, and no session is resumed: ${name}`, async () => {
        const found: string[] = [];
        const due: string[] = [];
        for (const { name: certificate, fault, identity } of certificates) {
          const target = { port: port(), version, identity };
          const fresh = await knockWhenFree({ ...target, bytes: bytes() });
          const again = await knockWhenFree({ ...target, bytes: bytes(), session: fresh.session });
          const expected = fault === 'none' ? answer : REFUSALS[fault];
          due.push(`${certificate}: ${expected}, not resumed ${expected}`);
          found.push(
            `${certificate}: ${fresh.outcome}, ${again.isResumed ? 'resumed' : 'not resumed'} ${again.outcome}`,
          );
        }
        expect(found).to.deep.equal(due);
      });

  it('move nothing of the agent where they are refused', async () => {
    // The instant of the next contact is told by another clock than it is kept in.
    const shown = () => ({ ...daemon.status(), nextContactAt: undefined });
    const before = shown();
    for (const { fault, identity } of certificates)
      for (const version of TLS_VERSIONS)
        if (fault !== 'none')
          await knock({
            port: port(),
            version,
            identity,
            bytes: requestBytes('POST', LISTENER_PATHS.heartbeat, first()),
          });
    expect(shown()).to.deep.equal(before);
    expect((await dial(manager, { port: port(), computerId: daemon.computerId })).status).to.equal(204);
  });

  let interval = 3000;
  const turns: readonly (readonly [string, number])[] = [
    ['has expired', 31 * DAY_MS],
    ['is not valid yet, by a clock that was wrong', -2 * DAY_MS],
  ];
  for (const version of TLS_VERSIONS)
    for (const [name, stepMs] of turns)
      it(`are judged again with every call of a kept ${version} connection: one that ${name}`, async () => {
        const range = { minVersion: version, maxVersion: version };
        const dialer = new ListenerDialer(port(), { ...good(), ...range });
        const report = await dialer.post(first());
        expect(report.status).to.equal(200);
        const applied = daemon.status().settings.applied;
        manager.setSettings({ heartbeatIntervalSeconds: (interval -= 1) });
        const orders = manager.take(report.body, { dialledBy: 'manager' });
        expect(orders.settings).to.not.equal(null);
        elapsedMs = stepMs;
        const refused = await dialer.post({ ...first(), orders });
        dialer.close();
        expect([refused.status, refused.code]).to.deep.equal([403, 'clock-skew']);
        expect(daemon.status().settings.applied).to.equal(applied);
      });

  it('are judged by their path alone while no manager has told the time since the boot', async () => {
    await daemon.abort();
    await enrollAs('new1');
    await manager.close();
    await start({ directory: dataDirectory(join(folder.path, 'new1')), firstDirection: 'managerInitiated' });
    const isDated = (fault: CertificateFault) => fault === 'expired' || fault === 'not-yet-valid';
    const found: string[] = [];
    const due: string[] = [];
    for (const { name, fault, identity } of certificates) {
      const bytes = requestBytes('GET', LISTENER_PATHS.heartbeat);
      found.push(`${name}: ${(await knock({ port: port(), version: 'TLSv1.3', identity, bytes })).outcome}`);
      const isTaken = fault === 'none' || isDated(fault);
      due.push(`${name}: ${isTaken ? '405 method-not-allowed' : REFUSALS[fault]}`);
    }
    await manager.listen();
    expect(found).to.deep.equal(due);
  });
});
