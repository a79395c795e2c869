import { expect } from 'chai';
import { createLoginBackoff } from '../../../server/access/login-backoff.js';

const MINUTE = 60_000;

function world() {
  let now = 0;
  const clock = { wall: () => now, monotonic: () => now, boot: () => now, sleep: () => Promise.resolve() };
  const backoff = createLoginBackoff(clock);
  return { backoff, advance: (ms: number) => (now += ms), now: () => now };
}

describe('slowing down wrong passwords', () => {
  const guess = { name: 'admin', address: '192.0.2.1' };

  it('lets five go, then doubles the wait from one second to a minute', () => {
    const { backoff, advance } = world();
    for (let tries = 0; tries < 5; tries += 1) expect(backoff.begin(guess)).to.equal(0);
    const waits: number[] = [];
    for (let tries = 0; tries < 8; tries += 1) {
      const wait = backoff.begin(guess);
      waits.push(wait);
      advance(wait);
      expect(backoff.begin(guess)).to.equal(0);
    }
    expect(waits).to.deep.equal([1, 2, 4, 8, 16, 32, 60, 60].map((seconds) => seconds * 1000));
  });

  it('does not count what it turned away', () => {
    const { backoff } = world();
    for (let tries = 0; tries < 5; tries += 1) backoff.begin(guess);
    for (let tries = 0; tries < 50; tries += 1) expect(backoff.begin(guess)).to.equal(1000);
  });

  it('forgets after a quarter of an hour', () => {
    const { backoff, advance } = world();
    for (let tries = 0; tries < 5; tries += 1) backoff.begin(guess);
    advance(15 * MINUTE + 1);
    for (let tries = 0; tries < 5; tries += 1) expect(backoff.begin(guess)).to.equal(0);
  });

  it('slows a name down that is guessed from many addresses, but not where its owner signed in before', () => {
    const { backoff } = world();
    const owner = { name: 'admin', address: '198.51.100.7' };
    backoff.begin(owner);
    backoff.succeeded(owner);
    let refused = 0;
    for (let host = 0; host < 30; host += 1)
      refused += backoff.begin({ name: 'admin', address: `203.0.113.${host}` }) > 0 ? 1 : 0;
    expect(refused).to.equal(10);
    expect(backoff.begin(owner)).to.equal(0);
  });

  it('slows an address down that guesses many names, an IPv6 network like one address', () => {
    const { backoff } = world();
    let refused = 0;
    for (let tries = 0; tries < 30; tries += 1)
      refused += backoff.begin({ name: `user ${tries}`, address: `2001:db8:1:2::${tries}` }) > 0 ? 1 : 0;
    expect(refused).to.equal(10);
    expect(backoff.begin({ name: 'another', address: '2001:db8:1:3::1' })).to.equal(0);
  });
});
