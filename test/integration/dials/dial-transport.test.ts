import { expect } from 'chai';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openAuthority, type CertificateAuthority } from '../../../certs/certificate-authority.js';
import { openManagerIdentity, type ManagerIdentity } from '../../../certs/manager-identity.js';
import { createSystemClock } from '../../../lib/clock.js';
import { createLog } from '../../../lib/log.js';
import { Problem } from '../../../lib/problem.js';
import { createSystemRandom } from '../../../lib/random.js';
import { createBodyBudget } from '../../../lib/body-reader.js';
import type { LateRenewals } from '../../../server/certificates/late-renewals.js';
import { createPeerVerifier } from '../../../server/agent-channel/peer-identity.js';
import { createPeerLimits } from '../../../server/agent-channel/peer-limits.js';
import { createDialGuard } from '../../../server/dials/dial-guard.js';
import { createNameResolver, type Lookup } from '../../../server/dials/name-resolver.js';
import { createPatience, type ReadProcessorTime } from '../../../lib/processor-wait.js';
import { createDialTransport, type DialOutcome } from '../../../server/dials/dial-transport.js';
import type { Exchange } from '../../../server/heartbeats/exchange.js';
import type { IdentityMismatch } from '../../../server/heartbeats/identity-mismatch.js';
import { issueIdentity, type ClientIdentity } from '../../support/agent-port.js';
import { startFakeListener, type FakeListener, type ListenerMode } from '../../support/fake-agent-listener.js';
import { ordersFor } from '../../support/dial-transport-world.js';
import { freePort } from '../../support/free-port.js';

const COMPUTER = '0c0ffee0-0000-4000-8000-000000000001';
const clock = createSystemClock();
const random = createSystemRandom();
const log = createLog({ name: 'test', level: 'silent' });
const shown = (outcome: DialOutcome) => (outcome.kind === 'failed' ? outcome.failure.code : outcome.kind);

describe('Dialling one agent', () => {
  const dir = mkdtempSync(join(tmpdir(), 'wardbeat-dial-'));
  let authority: CertificateAuthority;
  let stranger: CertificateAuthority;
  let identity: ManagerIdentity;
  const open: FakeListener[] = [];
  const stored: Exchange[] = [];
  const mismatches: IdentityMismatch[] = [];
  let refusal: Problem | undefined;
  let processorTime: ReadProcessorTime | undefined;
  let mismatchFailure: Error | undefined;
  let renewLate: LateRenewals['renew'] | undefined;

  before(async () => {
    authority = await openAuthority({ dir: join(dir, 'a'), trustDomain: 'test.wardbeat', clock, random });
    stranger = await openAuthority({ dir: join(dir, 'b'), trustDomain: 'test.wardbeat', clock, random });
    identity = await openManagerIdentity({ dir: join(dir, 'a'), authority, node: 'n1', hosts: ['localhost'], clock });
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((listener) => listener.close()));
    stored.length = 0;
    mismatches.length = 0;
    refusal = undefined;
    processorTime = undefined;
    mismatchFailure = undefined;
    renewLate = undefined;
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  const transport = (lookup?: Lookup, at: () => number = () => clock.wall()) =>
    createDialTransport({
      identity,
      ...(renewLate ? { renewLate } : {}),
      rootPem: authority.rootPem,
      verifier: createPeerVerifier({
        root: authority.root,
        intermediateDer: authority.intermediate.raw,
        trustDomain: authority.trustDomain,
        trustedNow: at,
      }),
      trustedNow: at,
      guard: createDialGuard(undefined),
      resolve: createNameResolver(lookup),
      bodies: createBodyBudget(8 * 1024 * 1024),
      clock,
      patience: createPatience(
        () => clock.monotonic(),
        () => processorTime?.(),
      ),
      fleet: () => clock.wall(),
      listener: 'n1',
      submit: async (exchange) => {
        if (refusal) throw refusal;
        stored.push(exchange);
        return ordersFor(exchange);
      },
      limits: createPeerLimits({}, () => clock.monotonic()),
      upload: () => Promise.reject(new Error('No file is awaited')),
      noteMismatch: async (mismatch) => {
        if (mismatchFailure) throw mismatchFailure;
        mismatches.push(mismatch);
      },
      log,
      limitsMs: { connectMs: 300, totalMs: 600 },
    });

  const listen = async (mode: ListenerMode, presented?: ClientIdentity, more: number | { csr: string } = 1) => {
    const [reports, csr] = typeof more === 'number' ? [more, undefined] : [1, more.csr];
    const listener = await startFakeListener({
      mode,
      computerId: COMPUTER,
      identity: presented ?? issueIdentity(authority, COMPUTER),
      rootPem: authority.rootPem,
      now: () => clock.wall(),
      reports,
      ...(csr === undefined ? {} : { csr }),
    });
    open.push(listener);
    return listener;
  };

  const dial = (
    port: number,
    { host = '127.0.0.1', lookup, at }: { host?: string; lookup?: Lookup; at?: () => number } = {},
  ) => {
    const { signal } = new AbortController();
    return transport(lookup, at).dial(COMPUTER, () => ({ host, port, isLoopbackObserved: true }), signal);
  };

  it('converses as the protocol says, and presents itself as a manager', async () => {
    const listener = await listen('good', undefined, 3);
    expect(await dial(listener.port)).to.deep.equal({ kind: 'answered', isNews: true });
    expect(stored.map(({ report, dialledBy }) => [report.sequence, dialledBy])).to.deep.equal([
      [1, 'manager'],
      [2, 'manager'],
      [3, 'manager'],
    ]);
    expect(listener.calls.map(({ computerId, orders }) => [computerId, orders?.reportId])).to.deep.equal([
      [COMPUTER, undefined],
      ...stored.map(({ report }) => [COMPUTER, report.reportId]),
    ]);
    expect(listener.connections).to.have.length(1);
    expect(listener.callers[0]).to.contain('spiffe://test.wardbeat/manager/n1');
    expect(stored[0]?.identity.computerId).to.equal(COMPUTER);
    expect(stored[0]?.address).to.equal('127.0.0.1');
  });

  const modes: readonly [ListenerMode, string][] = [
    ['tarpit', 'timeout'],
    ['mute', 'timeout'],
    ['half', 'timeout'],
    ['drip', 'timeout'],
    ['busy', 'busy'],
    ['huge', 'protocol'],
    ['no-json', 'protocol'],
    ['no-report', 'protocol'],
    ['redirect', 'protocol'],
    ['upgrade', 'reset'],
    ['empty', 'protocol'],
    ['other-report', 'protocol'],
  ];
  it('gives the handshake more of the whole time while this process itself waits for a processor', async () => {
    const told = async () => {
      const outcome = await dial((await listen('tarpit')).port);
      return outcome.kind === 'failed' ? outcome.failure.message : outcome.kind;
    };
    expect(await told()).to.equal('not connected within 300 ms');
    processorTime = () => ({ ranMs: clock.monotonic() / 4, waitedMs: clock.monotonic() / 2 });
    expect(await told()).to.equal('no end within 600 ms');
  });

  for (const [mode, expected] of modes)
    it(`ends with "${expected}" at a listener that is ${mode}, in time`, async () => {
      const listener = await listen(mode);
      const begun = performance.now();
      expect(shown(await dial(listener.port))).to.equal(expected);
      expect(performance.now() - begun).to.be.below(2000);
      expect(stored).to.deep.equal([]);
      expect(mismatches).to.have.length(mode === 'other-report' ? 1 : 0);
    });

  it('tells an agent whose report names another computer why it is refused', async () => {
    const listener = await listen('other-report');
    await dial(listener.port);
    expect(listener.calls.at(-1)?.problem?.type).to.equal('/problems/identity-mismatch');
  });

  it('accepts nobody but that computer', async () => {
    const other = '0c0ffee0-0000-4000-8000-000000000002';
    const manager = { cert: identity.certPem + identity.chainPem, key: identity.keyPem };
    const table: readonly [string, ClientIdentity, string][] = [
      ["another computer's", issueIdentity(authority, other), 'tls-other-computer'],
      ["another authority's", issueIdentity(stranger, COMPUTER), 'tls-unknown-ca'],
      ["a manager's", manager, 'tls-unknown-ca'],
    ];
    for (const [name, presented, expected] of table) {
      const listener = await listen('good', presented);
      expect(shown(await dial(listener.port)), name).to.equal(expected);
      expect(listener.calls, name).to.deep.equal([]);
    }
  });

  it('judges the dates by trusted time', async () => {
    const { port } = await listen('good');
    const year = 365 * 86_400_000;
    expect(shown(await dial(port, { at: () => clock.wall() + year }))).to.equal('tls-expired');
    expect(shown(await dial(port, { at: () => clock.wall() - year }))).to.equal('tls-not-yet-valid');
  });

  it('names a port where nobody listens', async () => {
    expect(shown(await dial(await freePort()))).to.equal('refused');
  });

  it('connects to the very address that was checked, and to no refused one', async () => {
    const listener = await listen('good');
    const asked: string[] = [];
    const lookup: Lookup = async (host) => {
      asked.push(host);
      // What a second question would be answered does not matter: nobody asks it.
      return [{ address: asked.length === 1 ? '127.0.0.1' : '169.254.169.254' }];
    };
    expect(shown(await dial(listener.port, { host: 'web1.example', lookup }))).to.equal('answered');
    expect(asked).to.deep.equal(['web1.example']);
    for (const host of ['0.0.0.0', '0177.0.0.1', '0x7f.1', '2130706433', '::', '169.254.169.254', '224.0.0.1'])
      expect(shown(await dial(listener.port, { host })), host).to.equal('address-refused');
    expect(listener.connections).to.have.length(1);
  });

  it('gives a name no longer than a connection', async () => {
    const never: Lookup = () => new Promise(() => undefined);
    expect(shown(await dial(1, { host: 'slow.example', lookup: never }))).to.equal('dns');
    const unknown: Lookup = () => Promise.reject(Object.assign(new Error('no'), { code: 'ENOTFOUND' }));
    expect(shown(await dial(1, { host: 'gone.example', lookup: unknown }))).to.equal('dns');
  });

  it("does not blame the agent for the manager's own failures", async () => {
    const listener = await listen('good');
    refusal = new Problem('unavailable', { detail: 'away', retryAfterSeconds: 2 });
    expect(await dial(listener.port)).to.deep.equal({ kind: 'own', retryAfterMs: 2000 });
    expect(listener.calls.at(-1)?.problem).to.deep.include({ status: 503, retryAfterSeconds: 2 });
    refusal = new Problem('computer-revoked');
    expect(shown(await dial(listener.port))).to.equal('protocol');
    mismatchFailure = Object.assign(new Error('the database is away'), { code: 'ECONNREFUSED' });
    expect(shown(await dial((await listen('other-report')).port))).to.equal('own');
  });

  it('is cut by its signal, which is no failure of the agent', async () => {
    const listener = await listen('mute');
    const aborter = new AbortController();
    const target = { host: '127.0.0.1', port: listener.port, isLoopbackObserved: true };
    const dialled = transport().dial(COMPUTER, () => target, aborter.signal);
    aborter.abort(new Error('stop'));
    expect(shown(await dialled)).to.equal('own');
  });

  it('shows another leaf of the manager’s from the next connection on', async () => {
    const listener = await listen('good');
    const own = transport();
    const { signal } = new AbortController();
    const reach = () =>
      own.dial(COMPUTER, () => ({ host: '127.0.0.1', port: listener.port, isLoopbackObserved: true }), signal);
    expect(await reach()).to.deep.include({ kind: 'answered' });
    own.renew(await openManagerIdentity({ dir: join(dir, 'n2'), authority, node: 'n2', hosts: ['localhost'], clock }));
    expect(await reach()).to.deep.include({ kind: 'answered' });
    expect(listener.callers.map((caller) => caller.match(/manager\/n\d/)?.[0])).to.deep.equal([
      'manager/n1',
      'manager/n2',
    ]);
  });

  describe('that has expired', () => {
    const later = () => clock.wall() + 31 * 86_400_000;
    const answer = { protocolVersion: 1, computerId: COMPUTER, certificate: 'new', chain: ['i', 'r'], managerTime: 0 };

    it('brings it what was issued for its own key, and dials it again soon', async () => {
      const asked: unknown[] = [];
      renewLate = async (peer, request) => (asked.push([peer.id, peer.serial.length, request.csr]), answer);
      const listener = await listen('good', undefined, { csr: 'a request' });
      expect(await dial(listener.port, { at: later })).to.deep.equal({ kind: 'own', retryAfterMs: 2000 });
      expect(asked).to.deep.equal([[COMPUTER, 32, 'a request']]);
      expect(listener.calls.at(-1)).to.deep.include({ renewed: { certificate: 'new', chain: ['i', 'r'] } });
      expect(stored).to.deep.equal([]);
    });

    it('says so where it is not renewed: refused, unknown to the agent, or not offered', async () => {
      const failure = async (port: number) => {
        const outcome = await dial(port, { at: later });
        return outcome.kind === 'failed' ? `${outcome.failure.code} ${outcome.failure.message}` : outcome.kind;
      };
      const [knows, older] = [await listen('good', undefined, { csr: 'a request' }), await listen('good')];
      expect(await failure(knows.port)).to.match(/^tls-expired the leaf has expired$/);
      renewLate = () => Promise.reject(new Problem('renewal-refused', { detail: 'too late' }));
      expect(await failure(knows.port)).to.match(/^tls-expired .*not renewed: too late$/);
      expect(await failure(older.port)).to.match(/^tls-expired .*not renewed: the agent answered 404$/);
    });

    it('is asked for nothing where another computer shows it', async () => {
      let asked = 0;
      renewLate = async () => ((asked += 1), answer);
      const other = issueIdentity(authority, '99999999-9999-4999-8999-999999999999');
      const listener = await listen('good', other, { csr: 'a request' });
      expect(await dial(listener.port, { at: later })).to.deep.include({ kind: 'failed' });
      expect([asked, listener.calls.length]).to.deep.equal([0, 0]);
    });
  });
});
