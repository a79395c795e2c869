import { expect } from 'chai';
import { Redactor } from '../../../../agent/commands/redact.js';
import { LogTail } from '../../../../agent/log-tail.js';

const KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgCanaryCanaryCana
ryCanary
-----END PRIVATE KEY-----
`;

describe('what leaves the machine', () => {
  const redactor = new Redactor([KEY, 'known-identity-token', undefined]);
  const secrets: readonly [string, string, string][] = [
    ['an API key', 'with wbk_0123456789abcdefghij done', 'wbk_0123456789abcdefghij'],
    ['an enrollment token', `enroll wbt_${'a'.repeat(64)}_${'b'.repeat(64)}`, 'a'.repeat(64)],
    ['a bearer', 'Authorization: Bearer abc.def-ghi', 'abc.def-ghi'],
    ['a URL', 'proxy http://ada:hunter2@proxy:3128/', 'hunter2'],
    ['an assignment', 'password=hunter2, more', 'hunter2'],
    ['a private key', `before ${KEY} after`, 'canaryCana'],
    ['a line of our key alone', 'MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgCanaryCanaryCana', 'MIGHAgEA'],
    ['our token', 'x known-identity-token y', 'known-identity-token'],
  ];
  for (const [name, text, secret] of secrets)
    it(`hides ${name}`, () => {
      expect(redactor.text(text)).to.not.include(secret);
      expect(JSON.stringify(redactor.value({ a: [{ b: text }] }))).to.not.include(secret);
      expect(redactor.line(JSON.stringify({ msg: text }))).to.not.include(secret);
    });

  it('hides members by their names, and keeps the rest', () => {
    const given = { apiKey: 'x', nested: { password: { deep: 1 }, keyboard: 'de' }, token: null, secretSet: true };
    expect(redactor.value(given)).to.deep.equal({
      apiKey: '[redacted]',
      nested: { password: '[redacted]', keyboard: 'de' },
      token: null,
      secretSet: true,
    });
    expect(redactor.line('no JSON at all')).to.equal('no JSON at all');
  });
});

describe('the tail of the log', () => {
  it('keeps the newest lines in a bounded room', () => {
    const tail = new LogTail();
    for (let line = 0; line < 500; line += 1) tail.add(`${line} ${'x'.repeat(9000)}\n`);
    const kept = tail.last(10_000);
    expect(kept.at(-1)).to.match(/^499 x+$/);
    expect(kept.reduce((sum, { length }) => sum + length, 0)).to.be.at.most(1024 * 1024);
    expect(tail.last(2)).to.have.length(2);
    expect(tail.last(0)).to.deep.equal([]);
  });
});
