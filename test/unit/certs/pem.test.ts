import { createHash } from 'node:crypto';
import { expect } from 'chai';
import fc from 'fast-check';
import { joinPemBundle, readPem, sha256Fingerprint, splitPemBundle, writePem } from '../../../certs/pem.js';
import { forgeAuthority } from '../../support/forged-certificates.js';

describe('PEM', () => {
  it('gives back any octets that it was given', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), (bytes) => {
        const [block, ...others] = readPem(`text before\n${writePem('CERTIFICATE', bytes)}text behind`);
        expect(others).to.deep.equal([]);
        expect(block).to.deep.equal({ label: 'CERTIFICATE', der: Buffer.from(bytes) });
      }),
    );
  });

  it('takes a bundle apart and joins it again, with either line ending', () => {
    const { root, intermediate } = forgeAuthority(Date.now());
    const pems = [intermediate.pem, root.pem];
    expect(splitPemBundle(joinPemBundle(pems))).to.deep.equal(pems);
    expect(splitPemBundle(joinPemBundle(pems.map((pem) => pem.trimEnd())).replaceAll('\n', '\r\n'))).to.deep.equal(
      pems,
    );
  });

  it('fingerprints a certificate by its DER in lower-case hex', () => {
    const { root } = forgeAuthority(Date.now());
    const expected = createHash('sha256').update(root.der).digest('hex');
    expect([sha256Fingerprint(root.der), sha256Fingerprint(root.x509)]).to.deep.equal([expected, expected]);
    expect(root.x509.fingerprint256.replaceAll(':', '').toLowerCase()).to.equal(expected);
  });
});
