import { expect } from 'chai';
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { issueIdentity } from '../../support/agent-port.js';
import {
  attackCertificates,
  TLS_VERSIONS,
  type AttackCertificate,
  type CertificateFault,
} from '../../support/certificate-attacks.js';
import {
  createDialTransportWorld,
  DIALLED_COMPUTER,
  outcomeOf,
  type DialTransportWorld,
} from '../../support/dial-transport-world.js';
import { steadyReport } from '../../support/ingest-world.js';

const RESULTS: Readonly<Record<CertificateFault, string>> = {
  none: 'answered',
  absent: 'tls-refused',
  'unknown-authority': 'tls-unknown-ca',
  profile: 'tls-unknown-ca',
  expired: 'tls-expired',
  'not-yet-valid': 'tls-not-yet-valid',
};

describe('Listeners that prove something else, dialled by the manager', function () {
  this.timeout(30_000);
  let world: DialTransportWorld;
  let table: readonly (AttackCertificate & { readonly result: string })[];

  before(async () => {
    world = await createDialTransportWorld();
    const certificates = attackCertificates({
      intermediate: {
        key: createPrivateKey(readFileSync(join(world.dir, 'intermediate.pem'))),
        x509: world.authority.intermediate,
      },
      trustDomain: world.authority.trustDomain,
      role: 'computer',
      id: DIALLED_COMPUTER,
      at: Date.now(),
    });
    const other = issueIdentity(world.authority, '0c0ffee0-0000-4000-8000-000000000002');
    table = [
      ...certificates.map((row) => ({ ...row, result: RESULTS[row.fault] })),
      { name: "another computer's", fault: 'profile', identity: other, result: 'tls-other-computer' },
      { name: "the manager's own", fault: 'profile', identity: world.manager, result: 'tls-unknown-ca' },
    ];
  });
  afterEach(() => world.reset());
  after(() => world.end());

  const targetOf = (port: number) => ({ host: '127.0.0.1', port, isLoopbackObserved: true });
  /** A whole answer, said before anybody asked. */
  const eagerly = () => {
    const report = JSON.stringify({ ...steadyReport(Date.now()), computerId: DIALLED_COMPUTER, sequence: 1 });
    return `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(report)}\r\n\r\n${report}`;
  };

  for (const version of TLS_VERSIONS)
    it(`are told apart over ${version}; not a byte is sent to an impostor, and nothing of it is stored`, async () => {
      const found: string[] = [];
      const due: string[] = [];
      for (const { name, fault, identity, result } of table) {
        const isImpostor = fault !== 'none';
        const listener = await world.listen({ version, identity, ...(isImpostor ? { greeting: eagerly() } : {}) });
        // Twice: what was learnt of a peer once must not help it the next time.
        for (const attempt of ['first', 'second']) {
          const outcome = outcomeOf(await world.dial(targetOf(listener.port)));
          const wasTold = listener.heardBytes > 0 || listener.calls.length > 0;
          found.push(
            `${name}, ${attempt}: ${outcome}, ${wasTold ? 'told' : 'not told'}, ${world.stored.length} stored`,
          );
          due.push(`${name}, ${attempt}: ${result}, ${isImpostor ? 'not told, 0 stored' : 'told, 1 stored'}`);
          world.stored.length = 0;
        }
        expect(listener.connections, name).to.have.length(2);
        expect(listener.resumed, name).to.equal(0);
        await world.reset();
      }
      expect(found).to.deep.equal(due);
    });

  it('show no names and no orders to whoever only shakes hands: the call names the computer after the proof', async () => {
    const good = await world.listen();
    expect(outcomeOf(await world.dial(targetOf(good.port)))).to.equal('answered');
    expect(good.calls[0]).to.deep.equal({ protocolVersion: 1, computerId: DIALLED_COMPUTER });
    expect(good.heardBytes).to.be.greaterThan(0);
  });
});
