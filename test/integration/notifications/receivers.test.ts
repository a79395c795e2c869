import { expect } from 'chai';
import { Socket as DatagramSocket } from 'node:dgram';
import { Webhook } from 'standardwebhooks';
import { notificationRoutes } from '../../../server/notifications/index.js';
import { useDatabase } from '../../support/database.js';
import { callerOf } from '../../support/domain-world.js';
import { openNotificationWorld, RECEIVER_HOST, type NotificationWorld } from '../../support/notification-world.js';
import { eventually } from '../../support/poll.js';
import {
  startClosingReceiver,
  startHttpsReceiver,
  startMailReceiver,
  startSilentReceiver,
  startTcpSyslog,
  startUdpSyslog,
  type HttpsReceiver,
  type MailReceiver,
  type Receiver,
} from '../../support/receivers.js';

interface Tested {
  readonly delivered: boolean;
  readonly code: string | null;
  readonly error: string | null;
}

const PASSWORD = 'canary-Pässword-4711/+';

describe('Sending notifications to real receivers', function () {
  this.timeout(60_000);
  let world: NotificationWorld;
  const opened: Receiver[] = [];
  after(async () => {
    for (const receiver of opened) await receiver.close();
    await world.close();
  });
  const database = useDatabase();
  const use = <R extends Receiver>(receiver: R): R => (opened.push(receiver), receiver);
  const test = async (id: string) =>
    (await world.call<Tested>('post', '/notification-channels/:id/test', { params: { id } })).body;
  const host = RECEIVER_HOST;

  before(async () => void (world = await openNotificationWorld(database)));
  beforeEach(() => world.clear());

  const alertOf = async (name = 'web1') => world.alert('computer-offline', await world.computer(name));

  describe('by e-mail', () => {
    let server: MailReceiver;
    const addresses = { from: 'wardbeat@manager.example', to: ['ops@site.example', 'night@site.example'] };
    const mail = (more: Record<string, unknown> = {}) => {
      const { caPem } = world.tls;
      return { type: 'email', host, port: server.port, ...addresses, caPem, ...more };
    };
    before(async () => void (server = use(await startMailReceiver(world.tls, { password: PASSWORD }))));
    beforeEach(() => void (server.mails.length = 0));

    it('upgrades to TLS, signs in, and tells in plain text what happened', async () => {
      const { id } = await world.channel(mail({ user: 'wardbeat', password: PASSWORD }));
      await world.route(id, { groupSeconds: 0 });
      const alertId = await alertOf();
      await world.tell('raised', alertId);
      const [delivery] = await world.delivered(1);
      const [received] = server.mails;
      expect(received).to.include({ isSecure: true, user: 'wardbeat', from: addresses.from });
      expect(received?.to).to.deep.equal(addresses.to);
      expect(received?.source).to.match(/^Subject: \[Wardbeat\] HIGH Computer offline: web1 \(raised\)\r$/m);
      expect(received?.source).to.match(new RegExp(`^Message-ID: <${delivery?.id}@manager\\.example>\r$`, 'm'));
      expect(received?.source).to.match(/^Content-Type: text\/plain; charset=utf-8\r$/m);
      expect(received?.source).to.contain('Auto-Submitted: auto-generated');
      expect(received?.source.replaceAll('=\r\n', '')).to.contain(`https://console.example/alerts/${alertId}`);
      expect(delivery?.alertIds).to.deep.equal([alertId]);
    });

    it('tells that the sign-in is refused, and nothing of what the server echoes', async () => {
      const { id } = await world.channel(mail({ user: 'wardbeat', password: `${PASSWORD}x` }));
      const answer = await test(id);
      expect(answer).to.include({ delivered: false, code: 'credentials-refused' });
      expect(answer.error).to.equal('the mail server refused the sign-in (535)');
      expect(JSON.stringify([answer, world.logged, world.audit.entries])).not.to.contain('canary');
    });

    it('sends nothing in the clear unless that was chosen', async () => {
      const plain = use(await startMailReceiver(world.tls, { disabledCommands: ['STARTTLS', 'AUTH'] }));
      const required = await world.channel(mail({ port: plain.port }));
      expect(await test(required.id)).to.include({ delivered: false, code: 'tls' });
      expect(plain.mails).to.deep.equal([]);
      const chosen = await world.channel(mail({ port: plain.port, security: 'none', caPem: null }));
      expect(await test(chosen.id)).to.include({ delivered: true, error: null });
      expect(plain.mails[0]).to.include({ isSecure: false });
    });

    it('speaks TLS from the first byte where that was chosen', async () => {
      const secure = use(await startMailReceiver(world.tls, { secure: true, password: PASSWORD }));
      const chosen = mail({ port: secure.port, security: 'tls', user: 'wardbeat', password: PASSWORD });
      expect(await test((await world.channel(chosen)).id)).to.include({ delivered: true });
      expect(secure.mails[0]).to.include({ isSecure: true, user: 'wardbeat' });
    });

    it('does not send to a server whose certificate is not accepted, nor where it cannot sign in', async () => {
      const stranger = await world.channel(mail({ caPem: null }));
      expect(await test(stranger.id)).to.include({ delivered: false, code: 'tls' });
      const open = use(await startMailReceiver(world.tls, { disabledCommands: ['AUTH'] }));
      const closed = await world.channel(mail({ port: open.port, user: 'wardbeat', password: PASSWORD }));
      expect(await test(closed.id)).to.include({ delivered: false });
      expect([...server.mails, ...open.mails]).to.deep.equal([]);
    });

    it('repeats what a server answered to the message, but not when it holds the password', async () => {
      const answers = ['552 the box is full', `554 we know you by ${PASSWORD}`];
      const full = use(
        await startMailReceiver(world.tls, {
          password: PASSWORD,
          onRcptTo: (_address, _session, callback) => {
            const [code = '', ...text] = (answers.shift() ?? '').split(' ');
            callback(Object.assign(new Error(text.join(' ')), { responseCode: Number(code) }));
          },
        }),
      );
      const to = ['one@site.example'];
      const { id } = await world.channel(mail({ port: full.port, user: 'u', password: PASSWORD, to }));
      expect((await test(id)).error).to.equal('the mail server answered: 552 the box is full');
      expect((await test(id)).error).to.equal('the mail server answered: [redacted]');
    });
  });

  it('tells by whom mail was not taken, and sends it to nobody again', async () => {
    const [taker, refused] = ['one@site.example', 'gone@site.example'];
    const server = use(
      await startMailReceiver(world.tls, {
        password: PASSWORD,
        onRcptTo: ({ address }, _session, callback) =>
          address === refused
            ? callback(Object.assign(new Error(`no such mailbox at ${PASSWORD.slice(0, 3)}`), { responseCode: 550 }))
            : callback(),
      }),
    );
    const { caPem } = world.tls;
    const sender = { user: 'u', password: PASSWORD, from: 'wardbeat@manager.example' };
    const { id } = await world.channel({
      type: 'email',
      host,
      port: server.port,
      ...sender,
      to: [taker, refused],
      caPem,
    });
    await world.route(id, { groupSeconds: 0 });
    await world.tell('raised', await alertOf());
    const [delivery] = await world.delivered(1);
    const says = `recipients-refused: the mail server refused ${refused}: 550 no such mailbox at ${PASSWORD.slice(0, 3)}`;
    expect(delivery).to.include({ state: 'delivered', attempts: 1, lastError: says, dueAt: null });
    await world.deliver();
    expect(server.mails.map(({ to }) => to)).to.deep.equal([[taker]]);
    type Shown = { lastError: string | null; lastDeliveredAt: string | null; history: { error: string }[] };
    const show = async (path: string, of: string) =>
      (await world.call<Shown>('get', path, { params: { id: of } })).body;
    expect((await show('/notification-deliveries/:id', delivery?.id ?? '')).history[0]?.error).to.equal(says);
    const channel = await show('/notification-channels/:id', id);
    expect(channel.lastError).to.equal(says);
    expect(channel.lastDeliveredAt).not.to.equal(null);
    expect(await test(id)).to.include({ delivered: true, code: 'recipients-refused' });
  });

  describe('by webhook', () => {
    let server: HttpsReceiver;
    before(async () => void (server = use(await startHttpsReceiver(world.tls))));
    beforeEach(() => {
      server.posts.length = 0;
      server.answer = (_post, response) => void response.writeHead(204).end();
    });
    const hook = async (more: Record<string, unknown> = {}) => {
      const url = `https://${host}:${server.port}/hook?token=canary-url`;
      return world.channel({ type: 'webhook', url, caPem: world.tls.caPem, ...more });
    };

    it('signs what it sends as Standard Webhooks say, under the id of the delivery', async () => {
      const { id, signingSecret = '' } = await hook();
      await world.route(id, { groupSeconds: 0 });
      const alertId = await alertOf();
      await world.tell('raised', alertId);
      const [delivery] = await world.delivered(1);
      const [post] = server.posts;
      const verified = new Webhook(signingSecret).verify(post?.body ?? '', post?.headers as Record<string, string>);
      const { type, data } = verified as { type: string; data: { alerts: Record<string, unknown>[]; more: number } };
      expect([type, data.more]).to.deep.equal(['alert.raised', 0]);
      expect(data.alerts[0]).to.deep.include({ id: alertId, type: 'computer-offline', severity: 'high' });
      expect(data.alerts[0]?.['computer']).to.include({ name: 'web1' });
      expect(post?.headers['webhook-id']).to.equal(delivery?.id);
      expect(post?.path).to.equal('/hook?token=canary-url');
      expect(post?.headers['user-agent']).to.equal('Wardbeat/1.2.3');
    });

    it('signs with both secrets for a day after a rotation', async () => {
      const { id, signingSecret = '' } = await hook();
      const rotated = await world.call<{ signingSecret: string }>('post', '/notification-channels/:id/rotate-secret', {
        params: { id },
      });
      const accepts = (secret: string): boolean => {
        const { body, headers } = server.posts.at(-1)!;
        try {
          return new Webhook(secret).verify(body, headers as Record<string, string>) !== undefined;
        } catch {
          return false;
        }
      };
      const signs = async () => {
        expect(await test(id)).to.include({ delivered: true });
        // The verifier judges the timestamp by the machine's clock.
        const post = server.posts.at(-1)!;
        return (post.headers['webhook-signature'] as string).split(' ').length;
      };
      expect(await signs()).to.equal(2);
      expect([accepts(signingSecret), accepts(rotated.body.signingSecret)]).to.deep.equal([true, true]);
      world.clock.advance(86_400_001);
      expect(await signs()).to.equal(1);
      world.clock.advance(-86_400_001);
    });

    const refusals: readonly (readonly [string, HttpsReceiver['answer'], Partial<Tested>])[] = [
      ['an error', (_p, r) => void r.writeHead(500).end('canary'), { error: 'the receiver answered 500' }],
      [
        'a redirect, which is not followed',
        (_p, r) => void r.writeHead(307, { location: 'https://127.0.0.1:1/elsewhere' }).end(),
        { error: 'the receiver answered 307, and redirects are not followed' },
      ],
      ['no answer but a close', (_p, r) => void r.destroy(), { code: 'reset' }],
      [
        'headers without end',
        (_p, r) => void r.writeHead(200, { 'x-long': 'x'.repeat(20_000) }).end(),
        { code: 'protocol' },
      ],
    ];
    for (const [name, answer, expected] of refusals)
      it(`tells of ${name}`, async () => {
        server.answer = answer;
        const { id } = await hook();
        expect(await test(id)).to.include({ delivered: false, ...expected });
        expect(server.posts).to.have.lengthOf(1);
      });

    it('takes the status for an answer, however long the body is', async () => {
      let sent = 0;
      server.answer = (_post, response) => {
        response.writeHead(200);
        const more = (): void => {
          while (!response.destroyed && response.write('x'.repeat(16_384))) sent += 16_384;
        };
        response.on('drain', more).on('error', () => undefined);
        more();
      };
      const { id } = await hook();
      expect(await test(id)).to.include({ delivered: true });
      expect(sent).to.be.lessThan(16 * 1024 * 1024);
    });

    it('takes the status for an answer that breaks off', async () => {
      server.answer = (_post, response) => {
        response.writeHead(200, { 'content-length': 100 }).write('x', () => response.destroy());
      };
      expect(await test((await hook()).id)).to.include({ delivered: true });
    });

    it('waits as long as a receiver asks', async () => {
      server.answer = (_post, response) => void response.writeHead(429, { 'retry-after': '1800' }).end();
      const { id } = await hook();
      await world.route(id, { groupSeconds: 0 });
      await world.tell('raised', await alertOf());
      await world.deliver();
      const [delivery] = await world.deliveries();
      expect(delivery).to.include({ state: 'failed', lastError: 'answer: the receiver answered 429' });
      expect(Date.parse(delivery?.dueAt ?? '') - world.clock.wall()).to.be.within(1_700_000, 3_600_000);
    });

    it('refuses a certificate of another name and one of a stranger', async () => {
      const { port } = server;
      const { caPem } = world.tls;
      const unknown = await world.channel({ type: 'webhook', url: `https://${host}:${port}/`, caPem: null });
      expect(await test(unknown.id)).to.include({ delivered: false, code: 'tls' });
      const other = await world.channel({ type: 'webhook', url: `https://127.0.0.2:${port}/`, caPem });
      expect((await test(other.id)).delivered).to.equal(false);
      expect(server.posts).to.deep.equal([]);
    });

    it('speaks to Slack in its JSON, and repeats only words of its own', async () => {
      const url = `https://${host}:${server.port}/services/T0/B0/canary-url`;
      const { id } = await world.channel({ type: 'slack', url, caPem: world.tls.caPem });
      await world.route(id, { groupSeconds: 0 });
      await world.tell('raised', await alertOf('<!channel> @here `x`'));
      await world.delivered(1);
      const { text } = JSON.parse(server.posts[0]?.body ?? '') as { text: string };
      expect(text).to.match(/^\*HIGH\* Computer offline: `&lt;!channel&gt; @here 'x'` of `policy \d+`, raised, since /);
      server.answer = (_post, response) => void response.writeHead(404).end('no_service');
      expect((await test(id)).error).to.equal('the receiver answered 404 (no_service)');
      server.answer = (_post, response) => void response.writeHead(404).end('/services/T0/B0/canary-url');
      expect((await test(id)).error).to.equal('the receiver answered 404');
    });
  });

  describe('by syslog', () => {
    const HEADER =
      /^<(\d+)>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) n1 wardbeat - (raised|test) - (CEF:0\|Wardbeat\|.*)$/;

    for (const protocol of ['udp', 'tcp', 'tls'] as const)
      it(`sends CEF in RFC 5424 over ${protocol}, one message per alert`, async () => {
        const start = { udp: startUdpSyslog, tcp: startTcpSyslog, tls: () => startTcpSyslog(world.tls) };
        const server = use(await start[protocol]());
        const caPem = protocol === 'tls' ? world.tls.caPem : null;
        const { id } = await world.channel({ type: 'syslog', host, port: server.port, protocol, caPem });
        await world.route(id, { groupSeconds: 0 });
        const alertIds = [await alertOf('web1'), await alertOf('Büro|a=b\\')];
        await world.tell('raised', ...alertIds);
        await world.delivered(1);
        await eventually('both messages', () => server.lines.length === 2);
        expect(server.rest()).to.equal(0);
        const parsed = server.lines.map((line) => HEADER.exec(line));
        // Local 0 and error.
        expect(parsed.map((match) => match?.[1])).to.deep.equal(['131', '131']);
        const events = parsed.map((match) => match?.[4] ?? '');
        for (const event of events)
          expect(event).to.match(
            /^CEF:0\|Wardbeat\|Wardbeat Manager\|1\.2\.3\|computer-offline\|Computer offline\|8\|rt=\d{13} act=raised /,
          );
        expect(events.some((event) => event.includes(String.raw` dvchost=Büro|a\=b\\ `))).to.equal(true);
        expect(events.map((event) => / externalId=(\S+) /.exec(event)?.[1])).to.have.members(alertIds);
      });

    it('alarms by syslog whenever it does by CEF', async () => {
      const server = use(await startUdpSyslog());
      const { id } = await world.channel({ type: 'syslog', host, port: server.port, protocol: 'udp' });
      await world.route(id, { groupSeconds: 0 });
      const alertId = await alertOf();
      for (const kind of ['raised', 'flapping', 'resolved'] as const) {
        await world.tell(kind, alertId);
        await world.deliver();
      }
      await eventually('all messages', () => server.lines.length === 3);
      const told = server.lines.map((line) => /^<(\d+)>.* - (\w+) - CEF:0(?:\|[^|]*){5}\|(\d+)\|/.exec(line)?.slice(1));
      expect(told).to.deep.equal([
        ['131', 'raised', '8'],
        ['131', 'flapping', '8'],
        ['134', 'resolved', '2'],
      ]);
    });

    it('tells when nobody takes it', async () => {
      const { port, close } = await startTcpSyslog();
      await close();
      const { id } = await world.channel({ type: 'syslog', host, port, protocol: 'tcp' });
      expect(await test(id)).to.include({ code: 'refused', error: 'the connection was refused' });
    });

    for (const protocol of ['tcp', 'tls'] as const)
      it(`does not take a receiver over ${protocol} that closes at once for one that has it`, async () => {
        const server = use(await startClosingReceiver(protocol === 'tls' ? world.tls : undefined));
        const caPem = protocol === 'tls' ? world.tls.caPem : null;
        const { id } = await world.channel({ type: 'syslog', host, port: server.port, protocol, caPem });
        expect(await test(id)).to.include({ delivered: false, code: 'reset' });
      });

    it('hears a refusal that arrives between two datagrams', async () => {
      const { port, close } = await startUdpSyslog();
      await close();
      const { id } = await world.channel({ type: 'syslog', host, port, protocol: 'udp' });
      await world.route(id, { groupSeconds: 0 });
      await world.tell('raised', await alertOf('web1'), await alertOf('web2'));
      const send = DatagramSocket.prototype.send as (...args: unknown[]) => void;
      // Over a network a refusal comes a little later than here.
      const later = function (this: DatagramSocket, bytes: Buffer, done: (error: Error | null) => void): void {
        send.call(this, bytes, (error: Error | null) => setImmediate(() => setImmediate(done, error)));
      };
      Object.assign(DatagramSocket.prototype, { send: later });
      await world.deliver().finally(() => Object.assign(DatagramSocket.prototype, { send }));
      const [delivery] = await world.deliveries();
      expect(delivery).to.include({ state: 'failed', lastError: 'refused: the connection was refused' });
    });
  });

  it('gives up on a receiver that accepts and says nothing', async () => {
    const silent = use(await startSilentReceiver());
    const from = 'a@b.example';
    const { id } = await world.channel({ type: 'email', host, port: silent.port, from, to: [from] });
    const call = callerOf(notificationRoutes(world.manager('hasty', { longestSendingMs: 300 })));
    const { body } = await call<Tested>('post', '/notification-channels/:id/test', { params: { id } });
    expect(body).to.include({ delivered: false, code: 'timeout' });
    expect(silent.connections()).to.equal(1);
  });
});
