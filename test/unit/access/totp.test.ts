import { expect } from 'chai';
import fc from 'fast-check';
import { matchingStep, toBase32, totpCode, totpStep, totpUri } from '../../../server/access/totp.js';

const SECRET = Buffer.from('12345678901234567890');

describe('TOTP', () => {
  // RFC 6238, appendix B, SHA-1; its eight digits end in our six.
  for (const [seconds, code] of [
    [59, '94287082'],
    [1111111109, '07081804'],
    [1111111111, '14050471'],
    [1234567890, '89005924'],
    [2000000000, '69279037'],
    [20000000000, '65353130'],
  ] as const)
    it(`gives the code of the RFC at ${seconds} s`, () => {
      expect(totpCode(SECRET, totpStep(seconds * 1000))).to.equal(code.slice(2));
    });

  const STEP_MS = 30_000;
  const AT = 50_000_000 * STEP_MS;
  const codeAt = (ms: number) => totpCode(SECRET, totpStep(ms));
  const judge = (code: string, lastStep: number | null = null) =>
    matchingStep({ secret: SECRET, code, wallMs: AT, lastStep });

  for (const [name, offsetMs, taken] of [
    ['two steps ago', -2 * STEP_MS, false],
    ['one millisecond more than a step ago', -STEP_MS - 1, false],
    ['a step ago', -STEP_MS, true],
    ['of now', 0, true],
    ['the last of this step', STEP_MS - 1, true],
    ['the next', STEP_MS, true],
    ['the last of the next', 2 * STEP_MS - 1, true],
    ['the one after', 2 * STEP_MS, false],
  ] as const)
    it(`${taken ? 'takes' : 'refuses'} the code ${name}`, () => {
      expect(judge(codeAt(AT + offsetMs))).to.equal(taken ? totpStep(AT + offsetMs) : undefined);
    });

  it('takes no code twice, and none before one that was taken (RFC 6238 §5.2)', () => {
    const now = totpStep(AT);
    expect(judge(codeAt(AT), now)).to.equal(undefined);
    expect(judge(codeAt(AT - STEP_MS), now)).to.equal(undefined);
    expect(judge(codeAt(AT + STEP_MS), now)).to.equal(now + 1);
  });

  it('refuses whatever else is typed', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (code) => {
        fc.pre(![-1, 0, 1].some((step) => codeAt(AT + step * STEP_MS) === code));
        expect(judge(code)).to.equal(undefined);
      }),
    );
  });

  // RFC 4648 §10, without padding.
  for (const [text, base32] of [
    ['', ''],
    ['f', 'MY'],
    ['fo', 'MZXQ'],
    ['foo', 'MZXW6'],
    ['foob', 'MZXW6YQ'],
    ['fooba', 'MZXW6YTB'],
    ['foobar', 'MZXW6YTBOI'],
  ] as const)
    it(`writes "${text}" in base32`, () => expect(toBase32(Buffer.from(text))).to.equal(base32));

  it('names the account in what a QR code holds', () => {
    const uri = new URL(totpUri({ secret: SECRET, account: 'ada & eve' }));
    expect(uri.protocol).to.equal('otpauth:');
    expect(decodeURIComponent(uri.pathname)).to.contain('Wardbeat:ada & eve');
    expect(Object.fromEntries(uri.searchParams)).to.deep.equal({
      secret: toBase32(SECRET),
      issuer: 'Wardbeat',
      algorithm: 'SHA1',
      digits: '6',
      period: '30',
    });
  });
});
