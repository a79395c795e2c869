import { expect } from 'chai';
import { createSigningRequest } from '../../../certs/csr.js';
import { readPem, writePem } from '../../../certs/pem.js';
import { enrollBody, startAgentPort, type AgentPort, type Answer } from '../../support/agent-port.js';
import { useDatabase } from '../../support/database.js';
import { newKey } from '../../support/forged-certificates.js';
import { seedForest } from '../../support/ingest-world.js';

const ENROLL = '/agent/v1/enroll';
const FREELY = { perAddressPerSecond: 1e6, totalPerSecond: 1e6 };
const LABEL = 'CERTIFICATE REQUEST';

const pem = createSigningRequest(newKey());
const der = readPem(pem)[0]!.der;
const changed = (change: (bytes: Buffer) => Buffer): string => writePem(LABEL, change(Buffer.from(der)));
const flipped = (index: number, mask: number): string =>
  changed((bytes) => {
    bytes[index] = bytes[index]! ^ mask;
    return bytes;
  });

/** Signing requests that nobody may get a certificate for. */
const MALFORMED: Readonly<Record<string, () => readonly string[]>> = {
  'that are no PEM': () => ['', ' ', 'x', '-----', '\u0000', '{}', pem.replaceAll('\n', ''), pem.replaceAll('-', '=')],
  'of another label': () =>
    ['CERTIFICATE', 'PRIVATE KEY', 'X509 CRL', '', 'certificate request'].map((l) => writePem(l, der)),
  'in numbers': () => [pem + pem, pem + writePem('CERTIFICATE', der), pem.repeat(20)],
  'with headers inside': () => [pem.replace('\n', '\nProc-Type: 4,ENCRYPTED\n\n')],
  'with base64 that is none': () => [
    pem.replace(/\n(.)/, '\n*'),
    pem.replace('\n', '\n===='),
    pem.replace(/\n./, '\n\u00e9'),
  ],
  'cut anywhere': () => Array.from({ length: 30 }, (_, n) => changed((b) => b.subarray(0, (b.length * n) / 30))),
  'with a byte added anywhere': () =>
    Array.from({ length: 30 }, (_, n) => {
      const at = Math.floor((der.length * n) / 29);
      return changed((b) => Buffer.concat([b.subarray(0, at), Buffer.from([0]), b.subarray(at)]));
    }),
  'with a bit turned anywhere': () =>
    Array.from({ length: 60 }, (_, n) => flipped(Math.floor((der.length * n) / 60), 1 << (n % 8))),
  'with wrong lengths': () =>
    ['30', '3080', '308400000000', '3084ffffffff', '30847fffffff30', '3085010000000030', '30ff'].map((hex) =>
      writePem(LABEL, Buffer.concat([Buffer.from(hex, 'hex'), der.subarray(4)])),
    ),
  'of zeros, of ones, of nothing': () =>
    [Buffer.alloc(0), Buffer.alloc(500), Buffer.alloc(500, 0xff)].map((b) => writePem(LABEL, b)),
  'that nest without end': () => [
    writePem(LABEL, Buffer.alloc(9000, Buffer.from('3080', 'hex'))),
    writePem(LABEL, Buffer.alloc(9000, 0x30)),
  ],
};

describe('enrollment under attack (T9, T11)', function () {
  this.timeout(60_000);
  const database = useDatabase();
  let port: AgentPort;

  before(async () => {
    await seedForest(database.pool);
    port = await startAgentPort(database.pool, FREELY);
  });
  after(() => port.stop());

  const codeOf = ({ status, body }: Answer) => [status, String(body['type']).replace('/problems/', '')];
  const rows = async (sql: string, ...parameters: unknown[]) => (await database.pool.query(sql, parameters)).rows;

  for (const [name, make] of Object.entries(MALFORMED))
    it(`refuses signing requests ${name}, and they use nothing up`, async () => {
      const token = await port.addToken();
      for (const csr of make()) {
        const [status, code] = codeOf(await port.post(ENROLL, { ...enrollBody(token), csr }));
        expect([status, code], JSON.stringify(csr).slice(0, 80)).to.be.deep.oneOf([
          [400, 'csr-invalid'],
          [400, 'request-invalid'],
        ]);
      }
      expect((await port.post(ENROLL, enrollBody(token))).status).to.equal(200);
    });

  it('refuses a stolen token with another key, and writes down who tried; the first key keeps its answer', async () => {
    const token = await port.addToken();
    const key = newKey();
    const first = await port.post(ENROLL, enrollBody(token, key));
    const thief = await port.post(ENROLL, enrollBody(token, newKey(), 'thief'));
    expect(codeOf(thief)).to.deep.equal([403, 'enrollment-token-refused']);
    const again = await port.post(ENROLL, enrollBody(token, key, 'another name'));
    expect([again.status, again.body['computerId'], again.body['certificate'], again.body['name']]).to.deep.equal([
      200,
      first.body['computerId'],
      first.body['certificate'],
      'web1',
    ]);
    const audit = await rows(
      `SELECT actor_id, subject_type, source_address, after FROM audit_log WHERE action = 'enrollment.refused'`,
    );
    expect(audit).to.have.length(1);
    expect(audit[0]).to.include({ subject_type: 'enrollment-token', source_address: '127.0.0.1' });
    expect(audit[0].after).to.have.keys('why', 'keyDigest');
    expect(JSON.stringify(audit)).not.to.contain(token.slice(0, 40));
  });

  it('stores of a token its hash alone', async () => {
    const token = await port.addToken();
    await port.post(ENROLL, enrollBody(token));
    const [, secret = ''] = token.split('_');
    for (const table of ['enrollment_tokens', 'enrollments', 'audit_log', 'certificates', 'computers'])
      expect(JSON.stringify(await rows(`SELECT * FROM ${table}`)), table).not.to.contain(secret);
  });
});
