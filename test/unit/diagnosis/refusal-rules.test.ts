import { expect } from 'chai';
import { Problem } from '../../../lib/problem.js';
import { refusalCodeOf } from '../../../server/diagnosis/refusal-rules.js';

describe('what is remembered of a refusal', () => {
  const table: readonly (readonly [Problem, string | undefined])[] = [
    [new Problem('computer-revoked'), 'revoked'],
    [new Problem('identity-mismatch'), 'identity-mismatch'],
    [new Problem('too-many-requests'), 'throttled'],
    [new Problem('request-invalid'), 'report-refused'],
    [new Problem('body-too-large'), 'report-refused'],
    [new Problem('content-type-unsupported'), 'report-refused'],
    [new Problem('protocol-version-unsupported'), 'report-refused'],
    [new Problem('clock-skew', { members: { reason: 'tls-expired' } }), 'tls-expired'],
    [new Problem('clock-skew', { members: { reason: 'tls-not-yet-valid' } }), 'tls-not-yet-valid'],
    [new Problem('unavailable'), undefined],
    [new Problem('internal'), undefined],
    [new Problem('forbidden'), undefined],
    [new Problem('computer-removed'), undefined],
  ];
  for (const [problem, code] of table)
    it(`is ${String(code)} for ${problem.code} ${JSON.stringify(problem.facts.members ?? {})}`, () => {
      expect(refusalCodeOf(problem)).to.equal(code);
    });
});
