import { expect } from 'chai';
import { newRecoveryCodes } from '../../../server/second-factors/recovery-code.js';
import { codeWaitMs, readCode } from '../../../server/second-factors/second-factor-rules.js';
import { createSystemRandom } from '../../../lib/random.js';

describe('codes of a second factor', () => {
  const failedAt = new Date(1_000_000_000);
  const waitAfter = (failures: number, laterMs = 0) =>
    codeWaitMs({ failures, failedAt }, failedAt.getTime() + laterMs) / 1000;

  it('wait after five wrong ones: half a minute, doubled up to an hour', () => {
    const waits = Array.from({ length: 14 }, (_, failures) => waitAfter(failures));
    expect(waits).to.deep.equal([0, 0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
    expect(waitAfter(1_000_000)).to.equal(3600);
  });

  it('are looked at again exactly when the wait is over', () => {
    expect(waitAfter(5, 29_999)).to.equal(0.001);
    expect(waitAfter(5, 30_000)).to.equal(0);
    expect(codeWaitMs({ failures: 9, failedAt: null }, 0)).to.equal(0);
  });

  it('wait no longer because they failed by a clock that was far ahead', () => {
    expect(waitAfter(1_000_000, -365 * 86_400_000)).to.equal(0);
    expect(waitAfter(5, -30_001)).to.equal(0);
    expect(waitAfter(5, -30_000)).to.equal(60);
    expect(waitAfter(5, -10_000)).to.equal(40);
  });

  for (const [typed, kind, code] of [
    ['123456', 'totp', '123456'],
    ['123 456', 'totp', '123456'],
    ['12345', 'recovery', '12345'],
    ['abcd-efgh-ijkl-mnop', 'recovery', 'ABCDEFGHIJKLMNOP'],
    ['１２３４５６', 'recovery', '１２３４５６'],
  ] as const)
    it(`read "${typed}" as ${kind}`, () => expect(readCode(typed)).to.deep.equal({ kind, code }));

  it('for recovery are ten different ones of 80 bits', () => {
    const codes = newRecoveryCodes(createSystemRandom());
    expect(new Set(codes).size).to.equal(10);
    for (const code of codes) {
      expect(code).to.match(/^([A-Z2-7]{4}-){3}[A-Z2-7]{4}$/);
      expect(readCode(code).kind).to.equal('recovery');
    }
  });
});
