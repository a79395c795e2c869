import { expect } from 'chai';
import { chooseListed } from '../../../server/notifications/grouping-rules.js';
import { changeChannel, settleChannel } from '../../../server/notifications/channel-rules.js';
import { cefSeverity } from '../../../server/notifications/cef-rules.js';
import { retryAfterMs } from '../../../server/notifications/http-post.js';
import { redactAnswer } from '../../../server/notifications/redact-rules.js';
import { nextAttemptAt } from '../../../server/notifications/retry-rules.js';
import { labelFilterFault } from '../../../server/computers/computer-rules.js';
import { decideReminder, matches } from '../../../server/notifications/routing-rules.js';
import { createSecretBox } from '../../../server/notifications/secret-box.js';
import { createSystemRandom } from '../../../lib/random.js';
import { databaseEndpoint } from '../../../server/database/connection.js';

describe('Which alerts go by a route', () => {
  const every = { minSeverity: null, types: null, policyId: null, label: null };
  const alert = {
    type: 'computer-offline',
    severity: 'high',
    computers: [
      { lineage: ['servers', 'base'], labels: { site: 'vienna', tier: '1' } },
      { lineage: ['labs', 'base'], labels: { site: 'graz' } },
    ],
  };
  const table: readonly (readonly [string, object, boolean])[] = [
    ['no condition', {}, true],
    ['the same severity', { minSeverity: 'high' }, true],
    ['a lesser severity', { minSeverity: 'info' }, true],
    ['a worse severity', { minSeverity: 'critical' }, false],
    ['its type', { types: ['spool-gap', 'computer-offline'] }, true],
    ['other types', { types: ['spool-gap'] }, false],
    ['a policy above', { policyId: 'base' }, true],
    ['its policy', { policyId: 'labs' }, true],
    ['a policy beside', { policyId: 'desktops' }, false],
    ['a label', { label: 'tier' }, true],
    ['a label with its value', { label: 'site=vienna' }, true],
    ['a label with another value', { label: 'site=linz' }, false],
    ['a label that an object has anyway', { label: 'constructor' }, false],
    ['policy and label of one computer', { policyId: 'servers', label: 'site=vienna' }, true],
    ['policy and label of two computers', { policyId: 'servers', label: 'site=graz' }, false],
  ];
  for (const [name, route, expected] of table)
    it(`${expected ? 'takes' : 'leaves'} an alert with ${name}`, () =>
      expect(matches({ ...every, ...route }, alert)).to.equal(expected));

  it('knows no computer of an alert about the manager', () => {
    const degraded = { type: 'manager-degraded', severity: 'high', computers: [] };
    expect(matches(every, degraded)).to.equal(true);
    expect(matches({ ...every, policyId: 'base' }, degraded)).to.equal(false);
  });

  it('filters by labels that can exist', () => {
    expect(['site', 'site=vienna', 'a/b:c', 'site='].map(labelFilterFault)).to.deep.equal(Array(4).fill(undefined));
    for (const text of ['', '=x', 'a b', 'a=\n', 7]) expect(labelFilterFault(text), String(text)).to.be.a('string');
  });
});

describe('Reminders', () => {
  const open = { state: 'raised', heldBy: null, snoozedUntil: null, repeatMinutes: 60 };
  const table: readonly (readonly [string, object, string])[] = [
    ['an open alert', {}, 'send'],
    ['one that is acknowledged', { state: 'acknowledged' }, 'never'],
    ['one that has ended', { state: 'resolved' }, 'never'],
    ['one whose route reminds no more', { repeatMinutes: null }, 'never'],
    ['one in maintenance', { heldBy: 'maintenance' }, 'later'],
    ['one that is snoozed', { snoozedUntil: 1001 }, 'later'],
    ['one whose snooze is over', { snoozedUntil: 1000 }, 'send'],
  ];
  for (const [name, facts, expected] of table)
    it(`of ${name}: ${expected}`, () => expect(decideReminder({ ...open, ...facts }, 1000)).to.equal(expected));
});

describe('Grouping', () => {
  const item = (alertId: string, computerId: string | null = alertId) => ({ alertId, computerId });
  const limits = { alerts: 4, perComputer: 2 };
  const chosen = (present: ReturnType<typeof item>[], incoming: ReturnType<typeof item>[]) => {
    const { listed, added } = chooseListed(present, incoming, limits);
    return [listed.map(({ alertId }) => alertId).join(''), added];
  };
  it('lists up to its limit and counts the rest', () => {
    expect(
      chosen(
        [],
        ['a', 'b', 'c', 'd', 'e'].map((id) => item(id)),
      ),
    ).to.deep.equal(['abcd', 5]);
    expect(
      chosen(
        ['a', 'b', 'c'].map((id) => item(id)),
        [item('d'), item('e')],
      ),
    ).to.deep.equal(['d', 2]);
  });
  it('does not tell twice what is listed', () => {
    expect(chosen([item('a')], [item('a'), item('b'), item('b')])).to.deep.equal(['b', 1]);
  });
  it('leaves room beside one computer, and none beside the manager itself', () => {
    expect(
      chosen(
        [],
        ['a', 'b', 'c', 'd'].map((id) => item(id, 'noisy')),
      ),
    ).to.deep.equal(['ab', 4]);
    expect(chosen([item('x', 'noisy')], [item('a', 'noisy'), item('b', 'noisy'), item('c')])).to.deep.equal(['ac', 3]);
    expect(
      chosen(
        [],
        ['a', 'b', 'c'].map((id) => item(id, null)),
      ),
    ).to.deep.equal(['abc', 3]);
  });
});

describe('Trying again', () => {
  const facts = { failures: 0, failure: {}, now: 1000, expiresAt: 90_000_000 };
  const at = (changes: object, fraction: number) =>
    nextAttemptAt({ ...facts, ...changes }, { fraction: () => fraction });
  it('is spread up to 10 s, and doubles up to an hour', () => {
    expect([at({}, 0), at({}, 0.9999)]).to.deep.equal([2000, 10_999]);
    expect(at({ failures: 3 }, 0.5)).to.equal(41_000);
    expect(at({ failures: 400 }, 0.9999)).to.be.within(3_599_000, 3_601_000);
  });
  it('waits as long as the receiver asks, and ends after a day with one last attempt', () => {
    expect(at({ failure: { retryAfterMs: 60_000 } }, 0)).to.equal(61_000);
    expect(at({ failures: 20, expiresAt: 5000 }, 0.9)).to.equal(5000);
    expect(at({ now: 90_000_000 }, 0.5)).to.equal(undefined);
  });
  it('reads Retry-After in both forms', () => {
    const wall = Date.UTC(2026, 10, 21, 12);
    expect(retryAfterMs('120', wall)).to.equal(120_000);
    expect(retryAfterMs('Sat, 21 Nov 2026 12:01:00 GMT', wall)).to.equal(60_000);
    expect(retryAfterMs('Sat, 21 Nov 2026 11:00:00 GMT', wall)).to.equal(0);
    expect(retryAfterMs('999999', wall)).to.equal(3_600_000);
    for (const text of [undefined, 'soon', '']) expect(retryAfterMs(text, wall)).to.be.oneOf([undefined, 0]);
  });
});

describe('What a receiver said', () => {
  const secret = 'p4ss-w0rd/+ü secret';
  const echoes: readonly (readonly [string, string])[] = [
    ['as it is', `refused: ${secret}`],
    ['in part', `refused: ${secret.slice(2, 12)}`],
    ['in another case', secret.toUpperCase()],
    ['with blanks between', [...secret].join(' ')],
    ['in base64', Buffer.from(secret).toString('base64')],
    ['in base64 of a sign-in', Buffer.from(`\0user\0${secret}`).toString('base64')],
    ['in base64 of a longer sign-in', Buffer.from(`\0users\0${secret}`).toString('base64')],
    ['in base64 of a sign-in longer still', Buffer.from(`\0userss\0${secret}`).toString('base64')],
    ['in hexadecimal', Buffer.from(secret).toString('hex')],
    ['in a URL', `https://x/?p=${encodeURIComponent(secret)}`],
    ['as JSON', JSON.stringify({ secret })],
  ];
  for (const [name, answer] of echoes)
    it(`is not repeated when it holds a secret ${name}`, () =>
      expect(redactAnswer(answer, [secret])).to.equal('[redacted]'));

  it('is repeated on one line otherwise', () => {
    expect(redactAnswer('550\r\n no \u001b[1msuch\u202e box', [secret])).to.equal('550 no [1msuch box');
    expect(redactAnswer('x'.repeat(1000), [secret])).to.have.lengthOf(200);
    expect(redactAnswer('552 full', ['', '552 empty'])).to.equal('552 full');
  });
});

describe('Settling a channel', () => {
  it('fills in the port of what was chosen', () => {
    const mail = { host: 'mail', from: 'a@b', to: ['c@d'] };
    const portOf = (type: 'email' | 'syslog', members: object) => {
      const { typed } = settleChannel(type, members);
      return 'port' in typed.settings ? typed.settings.port : undefined;
    };
    expect(
      (['starttls', 'tls', 'none'] as const).map((security) => portOf('email', { ...mail, security })),
    ).to.deep.equal([587, 465, 25]);
    expect((['udp', 'tcp', 'tls'] as const).map((protocol) => portOf('syslog', { host: 's', protocol }))).to.deep.equal(
      [514, 514, 6514],
    );
  });
  it('keeps the signing secrets through a change', () => {
    const before = settleChannel('webhook', { url: 'https://a.example/x' });
    const signed = { ...before, secrets: { ...before.secrets, signingSecret: 'whsec_x' } };
    const { secrets, typed } = changeChannel(signed, { url: 'https://b.example/y' });
    expect(secrets).to.deep.equal({ signingSecret: 'whsec_x', url: 'https://b.example/y' });
    expect(typed.settings).to.deep.equal({ origin: 'https://b.example', caPem: null });
  });
});

describe('The severities of CEF', () => {
  it('grow with those of alerts, and an end alarms nobody', () => {
    const severities = ['info', 'low', 'medium', 'high', 'critical'];
    expect(severities.map((one) => cefSeverity('raised', one))).to.deep.equal([2, 3, 6, 8, 10]);
    expect(severities.map((one) => cefSeverity('resolved', one))).to.deep.equal([2, 2, 2, 2, 2]);
  });
});

describe('The box of secrets', () => {
  const random = createSystemRandom();
  const box = createSecretBox(random.bytes(32), random);
  it('opens what it sealed, for the same place only, and nothing that was changed', () => {
    const sealed = box.seal('a', { password: 'canary' });
    expect(box.open('a', sealed)).to.deep.equal({ password: 'canary' });
    expect(sealed.toString('latin1')).not.to.contain('canary');
    expect(box.seal('a', { password: 'canary' }).equals(sealed)).to.equal(false);
    const refuses = (label: string, bytes: Buffer) => expect(() => box.open(label, bytes)).to.throw('another key');
    refuses('b', sealed);
    refuses('a', Buffer.alloc(0));
    refuses('a', sealed.subarray(0, 20));
    for (const index of [0, 13, sealed.length - 1]) {
      const changed = Buffer.from(sealed);
      changed[index] = (changed[index] ?? 0) ^ 1;
      refuses('a', changed);
    }
    expect(() => createSecretBox(random.bytes(32), random).open('a', sealed)).to.throw('another key');
  });
});

describe('Where a database listens', () => {
  const endpoint = (connectionString: string) => {
    const found = databaseEndpoint({ connectionString });
    return found && `${found.host} ${found.port}`;
  };
  it('is read from its URL', () => {
    expect(endpoint('postgres://u:p@db.example/x')).to.equal('db.example 5432');
    expect(endpoint('postgres://u:p@[fd00::1]:6000/x')).to.equal('fd00::1 6000');
    expect(endpoint('postgres://u:p@db/x?host=/run/postgresql')).to.equal(undefined);
    expect(endpoint('postgres:///x?host=10.0.0.1&port=7')).to.equal('10.0.0.1 7');
  });
});
