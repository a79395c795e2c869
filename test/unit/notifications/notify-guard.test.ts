import { expect } from 'chai';
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { createSystemClock } from '../../../lib/clock.js';
import { DialFailure } from '../../../server/dials/index.js';
import { openTcp } from '../../../server/notifications/guarded-socket.js';
import { settleChannel } from '../../../server/notifications/channel-rules.js';
import { createNotifyGuard } from '../../../server/notifications/notify-guard.js';
import { Problem } from '../../../lib/problem.js';

const { signal } = new AbortController();
const DATABASE = { host: 'db.example', port: 5432 };

function guardOf(allowed?: readonly string[], resolved: readonly string[] = []) {
  const asked: string[] = [];
  const resolve = async (host: string) => {
    asked.push(host);
    return host === DATABASE.host ? ['10.0.0.5', '::ffff:10.0.0.6'] : resolved;
  };
  return { asked, check: createNotifyGuard({ allowed, database: DATABASE, resolve }) };
}

async function verdict(host: string, allowed?: readonly string[], port = 443): Promise<string> {
  try {
    return (await guardOf(allowed).check({ host, port }, signal)).join();
  } catch (error) {
    return (error as DialFailure).code;
  }
}

describe('The guard of notifications (T26, T32)', () => {
  for (const address of ['10.1.2.3', '192.168.7.8', '8.8.8.8', '100.64.0.1', 'fd12:3456::1', '2a00:1450::1'])
    it(`lets ${address} pass`, async () => expect(await verdict(address)).to.equal(address));

  const refused = [
    ['127.0.0.1', 'loopback'],
    ['127.255.255.254', 'loopback'],
    ['::1', 'loopback'],
    ['::ffff:127.0.0.1', 'mapped loopback'],
    ['::ffff:7f00:1', 'mapped loopback in hexadecimal'],
    ['::127.0.0.1', 'compatible loopback'],
    ['::ffff:0:127.0.0.1', 'translated loopback'],
    ['0.0.0.0', 'unspecified'],
    ['::', 'unspecified'],
    ['169.254.169.254', 'metadata'],
    ['::ffff:169.254.169.254', 'mapped metadata'],
    ['::ffff:a9fe:a9fe', 'mapped metadata in hexadecimal'],
    ['100.100.100.200', 'metadata'],
    ['168.63.129.16', 'metadata'],
    ['fd00:ec2::254', 'metadata over IPv6'],
    ['fd20:ce::254', 'metadata over IPv6'],
    ['fe80::1', 'link-local'],
    ['fe80::1%eth0', 'a zone'],
    ['10.0.0.1%1', 'a zone'],
    ['224.0.0.1', 'multicast'],
    ['255.255.255.255', 'broadcast'],
    ['240.0.0.1', 'reserved'],
    ['ff02::1', 'multicast'],
    ['64:ff9b::7f00:1', 'NAT64 of loopback'],
    ['2002:7f00:1::1', '6to4 of loopback'],
    ['2001:0:4136:e378::1', 'Teredo'],
    ['fd00::5efe:127.0.0.1', 'ISATAP'],
    ['0177.0.0.1', 'octal'],
    ['0x7f.0.0.1', 'hexadecimal'],
    ['0x7f000001', 'one hexadecimal number'],
    ['2130706433', 'one number'],
    ['017700000001', 'one octal number'],
    ['127.1', 'short'],
    ['127.0.0.1.', 'a dot at the end'],
    ['１２７.0.0.1', 'full-width digits'],
    ['127。0。0。1', 'ideographic dots'],
    ['ⓛⓞⓒⓐⓛⓗⓞⓢⓣ', 'circled letters'],
  ];
  for (const [address = '', why] of refused)
    it(`refuses ${JSON.stringify(address)} (${why}), as it is and in a URL`, async () => {
      expect(await verdict(address)).to.equal('address-refused');
      const bracketed = address.includes(':') ? `[${address}]` : address;
      expect(await verdictOfUrl(`https://${bracketed}/`)).to.equal('address-refused');
    });

  it('opens special addresses only to one who lists a part of their range', async () => {
    expect(await verdict('127.0.0.1', ['0.0.0.0/0'])).to.equal('address-refused');
    expect(await verdict('127.0.0.1', ['127.0.0.0/8'])).to.equal('127.0.0.1');
    expect(await verdict('169.254.169.254', ['169.254.7.0/24'])).to.equal('address-refused');
    expect(await verdict('8.8.8.8', ['10.0.0.0/8'])).to.equal('address-refused');
  });

  it("refuses the manager's own database, unless its address is listed alone", async () => {
    for (const address of ['10.0.0.5', '10.0.0.6', '::ffff:10.0.0.5'])
      expect(await verdict(address, undefined, 5432)).to.equal('address-refused');
    expect(await verdict('db.example', undefined, 5432)).to.equal('address-refused');
    expect(await verdict('10.0.0.5', ['10.0.0.0/8'], 5432)).to.equal('address-refused');
    expect(await verdict('10.0.0.5', ['10.0.0.5/32'], 5432)).to.equal('10.0.0.5');
    expect(await verdict('10.0.0.5')).to.equal('10.0.0.5');
    expect(await verdict('10.0.0.7', undefined, 5432)).to.equal('10.0.0.7');
  });

  it('checks every address that a name resolves to, and connects to no other', async () => {
    const check = async (...resolved: string[]) => {
      const { check: guard } = guardOf(undefined, resolved);
      return guard({ host: 'hooks.example', port: 443 }, signal).catch(({ code }: DialFailure) => code);
    };
    expect(await check('10.0.0.5', '127.0.0.1')).to.deep.equal(['10.0.0.5']);
    expect(await check('127.0.0.1', '::1')).to.equal('address-refused');
    expect(await check('::ffff:169.254.169.254')).to.equal('address-refused');
    expect(await check()).to.equal('address-refused');
  });

  it('is not asked a second time: a name that changes between check and connect changes nothing', async () => {
    const server = createServer((socket) => socket.end()).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const answers = [['127.0.0.1'], ['127.0.0.2'], ['127.0.0.2']];
    let asked = 0;
    const resolve = async () => answers[asked++] ?? [];
    const checkTarget = createNotifyGuard({ allowed: ['127.0.0.1/32'], database: undefined, resolve });
    const target = { host: 'rebound.example', port: (server.address() as AddressInfo).port };
    const deps = { checkTarget, clock: createSystemClock() };
    const socket = await openTcp(deps, target, signal);
    expect([socket.remoteAddress, asked]).to.deep.equal(['127.0.0.1', 1]);
    socket.destroy();
    const again = await openTcp(deps, target, signal).catch((error: Error) => error.message);
    expect(again).to.equal('127.0.0.2 is not an address that notifications may go to');
    server.close();
  });
});

/** As a webhook's URL is read when it is stored and when it is sent to. */
async function verdictOfUrl(url: string): Promise<string> {
  try {
    settleChannel('webhook', { url });
  } catch (error) {
    if (error instanceof Problem) return 'address-refused';
    throw error;
  }
  return verdict(new URL(url).hostname.replace(/^\[(.*)\]$/, '$1'));
}
