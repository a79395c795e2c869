import { expect } from 'chai';
import { redact } from '../../../server/audit/audit-log.js';

describe('what the audit log keeps', () => {
  it('redacts secrets by name and by look, at every depth', () => {
    const key = `wbk_${'a'.repeat(43)}`;
    expect(
      redact({
        password: 'x',
        list: [{ csrfToken: 'y', passwordHash: 'z' }],
        text: `use ${key}`,
        credential: { a: 1 },
      }),
    ).to.deep.equal({
      password: '[redacted]',
      list: [{ csrfToken: '[redacted]', passwordHash: '[redacted]' }],
      text: '[redacted]',
      credential: '[redacted]',
    });
  });

  it('keeps the rest, flags under such names too', () => {
    const kept = { key: 'heartbeatIntervalSeconds', passwordChanged: true, tokens: 3, none: null };
    expect(redact(kept)).to.deep.equal(kept);
  });

  it('makes text storable', () => {
    expect(redact({ 'a\0': 'b\ud800' })).to.deep.equal({ 'a\ufffd': 'b\ufffd' });
  });
});
