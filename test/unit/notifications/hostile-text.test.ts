import { expect } from 'chai';
import { cefOfAlert, cefOfRest } from '../../../server/notifications/cef-rules.js';
import type { Message, ShownAlert } from '../../../server/notifications/message.js';
import { headline, plainText } from '../../../server/notifications/message-text-rules.js';
import { slackBody } from '../../../server/notifications/slack-rules.js';
import { datagramOf, DATAGRAM_MAX, formatSyslog, frame } from '../../../server/notifications/syslog-rules.js';
import { webhookBody } from '../../../server/notifications/webhook-rules.js';

const ALERT: ShownAlert = {
  id: '7d2f6a52-3b6c-4d0e-9a59-2f0f5a1b2c3d',
  type: 'computer-offline',
  severity: 'high',
  state: 'raised',
  computer: { id: '8d2f6a52-3b6c-4d0e-9a59-2f0f5a1b2c3d', name: 'web1' },
  policy: { id: '9d2f6a52-3b6c-4d0e-9a59-2f0f5a1b2c3d', name: 'Servers' },
  subject: '8d2f6a52-3b6c-4d0e-9a59-2f0f5a1b2c3d',
  raisedAt: '2026-11-21T12:00:00.000Z',
  closedAt: null,
  reason: 'heartbeat-missed',
  occurrences: 1,
  comment: null,
  assignee: null,
  detail: {},
  url: 'https://console.example/alerts/7d2f6a52',
};
const messageOf = (...alerts: readonly ShownAlert[]): Message => ({
  id: 'ad2f6a52-3b6c-4d0e-9a59-2f0f5a1b2c3d',
  kind: 'raised',
  timestamp: '2026-11-21T12:00:30.000Z',
  alerts,
  more: 0,
});

const HOSTILE: readonly (readonly [string, string])[] = [
  ['a header', 'web1\r\nBcc: everybody@example.org\r\n\r\nHello'],
  ['a bare line feed', 'web1\nX-Injected: 1'],
  ['a line separator', 'web1\u2028X-Injected: 1\u0085Y: 2'],
  ['the end of a mail', 'web1\r\n.\r\nMAIL FROM:<a@b>'],
  ['a terminal', '\u001b[31mred\u001b]0;title\u0007'],
  ['marks of direction', 'web\u202e1bew\u202c\u2066x\u2069'],
  ['what has no width', 'we\u200bb\u2060\ufeff1\u00ad'],
  ['HTML', '<img src=x onerror=alert(1)>&lt;'],
  ['a formula', "=cmd|' /C calc'!A0"],
  ['CEF', 'a|b\\|10|act=dismissed dvchost=other\\=x'],
  ['a backslash at the end', 'web1\\'],
  ['syslog', '1 <0>1 2026-11-21T12:00:00Z evil su - - - root'],
  ['JSON', '","type":"alert.resolved","x":"'],
  ['Slack', '<!channel> <@U1> <https://evil.example|here> *b* `c` & co'],
  ['NUL', 'web\u00001'],
  ['a lone surrogate', 'web\ud8001'],
  ['nothing that can be seen', '\u200b\u202e'],
  ['too much', 'x'.repeat(10_000)],
];

// eslint-disable-next-line no-control-regex
const UNSEEN = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/;

describe('Strings of agents in notifications (T5)', () => {
  for (const [name, text] of HOSTILE)
    describe(`with ${name}`, () => {
      const hostile: ShownAlert = {
        ...ALERT,
        computer: { id: ALERT.id, name: text },
        policy: { id: ALERT.id, name: text },
        subject: text,
        reason: text,
        comment: text,
        assignee: text,
        detail: { [text]: text },
      };
      const message = messageOf(hostile);

      it('are one line of a subject', () => {
        for (const subject of [headline(message), headline(messageOf(hostile, ALERT))]) {
          expect(subject).not.to.match(UNSEEN).and.not.to.contain('\n');
          expect(subject.length).to.be.lessThan(250);
        }
      });

      it('are as many lines of a mail as harmless ones', () => {
        const harmless = plainText(messageOf({ ...ALERT, comment: 'c', assignee: 'a' }));
        const lines = plainText(message).split('\n');
        expect(lines).to.have.lengthOf(harmless.split('\n').length);
        for (const line of lines) expect(line).not.to.match(UNSEEN);
        expect(lines.filter((line) => /^[A-Za-z-]+:/.test(line) || line === '.')).to.deep.equal([]);
      });

      it('are one event of CEF with the header and the keys of a harmless one', () => {
        const [hostileEvent, harmless] = [
          cefOfAlert(message, hostile, '1.0'),
          cefOfAlert(messageOf(ALERT), ALERT, '1.0'),
        ];
        expect(hostileEvent).not.to.match(UNSEEN).and.not.to.contain('\n');
        expect(readCef(hostileEvent).header).to.deep.equal(readCef(harmless).header);
        expect(readCef(hostileEvent).keys).to.deep.equal(readCef(harmless).keys);
      });

      it('are one message of syslog', () => {
        const line = { facility: 'local0', severity: 3, timestamp: message.timestamp, messageId: 'raised' } as const;
        const bytes = formatSyslog({ ...line, host: text, text: cefOfAlert(message, hostile, '1.0') });
        expect(bytes.toString('utf8')).to.match(/^<131>1 2026-\S+ [\x21-\x7e]{1,255} wardbeat - raised - CEF:0\|/);
        expect(bytes.includes('\n')).to.equal(false);
        expect(frame(bytes).toString('latin1', 0, 8)).to.match(new RegExp(`^${bytes.length} <`));
        expect(datagramOf(bytes).length).to.be.at.most(DATAGRAM_MAX);
      });

      it('are strings of JSON for a webhook', () => {
        const read = JSON.parse(webhookBody(message)) as { type: string; data: { alerts: ShownAlert[] } };
        expect(read.type).to.equal('alert.raised');
        expect(read.data.alerts).to.have.lengthOf(1);
        expect(webhookBody(message)).not.to.contain('\n');
      });

      it('are code to Slack: no mention, no link, no markup', () => {
        const { text: shown } = JSON.parse(slackBody(message)) as { text: string };
        expect(shown).not.to.match(UNSEEN).and.not.to.contain('\n');
        expect(shown.match(/<[^>]*>/g)).to.deep.equal([`<${ALERT.url}|show>`]);
        expect((shown.match(/`/g) ?? []).length).to.equal(6);
        const outside = shown.replaceAll(/`[^`]*`/g, '');
        expect(outside).to.match(/^\*HIGH\* Computer offline:  of , raised, since \S+, reason  <\S+\|show>$/);
      });
    });

  it('leaves strings of people as they are', () => {
    const name = 'Büro 東京 "web=1" (ü)';
    const kind = messageOf({ ...ALERT, computer: { id: ALERT.id, name } });
    expect(headline(kind)).to.equal(`HIGH Computer offline: ${name} (raised)`);
    expect(cefOfAlert(kind, kind.alerts[0]!, '1.0')).to.contain(String.raw`dvchost=Büro 東京 "web\=1" (ü) `);
  });

  it('cuts a datagram at no character and no escape', () => {
    for (let length = DATAGRAM_MAX - 4; length <= DATAGRAM_MAX + 2; length += 1) {
      for (const end of ['é', '東', '😀', String.raw`\=`, String.raw`\\`]) {
        const bytes = Buffer.from('x'.repeat(length) + end.repeat(3));
        const cut = datagramOf(bytes).toString('utf8');
        expect(cut).not.to.contain('\ufffd');
        expect(/\\*$/.exec(cut)![0].length % 2).to.equal(0);
      }
    }
  });

  it('counts what is not listed', () => {
    const message = { ...messageOf(ALERT, { ...ALERT, severity: 'critical' }), more: 7 };
    expect(headline(message)).to.equal('9 alerts raised, the worst is critical');
    expect(plainText(message)).to.contain('and 7 more that are not listed');
    expect(cefOfRest(message, '1.0')).to.contain('cnt=7');
    expect(JSON.parse(webhookBody(message))).to.have.nested.property('data.more', 7);
    expect(JSON.parse(slackBody(message)).text).to.contain('and 7 more that are not listed');
  });
});

/** Reads an event as a SIEM does: escapes are heeded. */
function readCef(event: string): { readonly header: readonly string[]; readonly keys: readonly string[] } {
  const parts = event.split(/(?<=(?:^|[^\\])(?:\\\\)*)\|/);
  const header = parts.slice(0, 7);
  const extension = parts.slice(7).join('|');
  const keys = [...extension.matchAll(/(?:^| )([A-Za-z0-9]+)(?<=(?:^|[^\\])(?:\\\\)*[A-Za-z0-9]+)=/g)].map(
    ([, key = '']) => key,
  );
  return { header, keys };
}
