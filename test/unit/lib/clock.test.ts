import { expect } from 'chai';
import { createSystemClock, parseRfc3339, toRfc3339 } from '../../../lib/clock.js';
import { eventually } from '../../support/poll.js';

describe('RFC 3339 instants', () => {
  const read: readonly (readonly [string, string])[] = [
    ['2027-01-01T00:00:00Z', '2027-01-01T00:00:00.000Z'],
    ['2027-01-01t00:00:00.5z', '2027-01-01T00:00:00.500Z'],
    ['2027-01-01T00:00:00.123456Z', '2027-01-01T00:00:00.123Z'],
    ['2027-01-01T00:00:00+14:00', '2026-12-31T10:00:00.000Z'],
    ['2028-02-29T23:59:59-00:30', '2028-03-01T00:29:59.000Z'],
    ['2000-02-29T00:00:00Z', '2000-02-29T00:00:00.000Z'],
  ];
  for (const [text, instant] of read)
    it(`read ${text}`, () => expect(toRfc3339(parseRfc3339(text) ?? Number.NaN)).to.equal(instant));

  const refused = ['', 'tomorrow', '2027-01-01', '2027-W01', '2027-W01-1', '2027-001', '2027-01-01T00:00:00'];
  const impossible = ['2027-02-29T00:00:00Z', '2100-02-29T00:00:00Z', '2027-13-01T00:00:00Z', '2027-04-31T00:00:00Z'];
  const odd = ['2027-01-01T24:00:00Z', '2027-01-01T00:60:00Z', '+012027-01-01T00:00:00Z', '2027-01-01 00:00:00Z'];
  for (const text of [...refused, ...impossible, ...odd, '2027-00-01T00:00:00Z', '2027-01-00T00:00:00Z'])
    it(`refuse ${text || 'nothing'}`, () => expect(parseRfc3339(text)).to.equal(undefined));
});

describe('the boot clock', () => {
  it('goes on while the uptime cannot be read, and finds a suspend when it can be again', async () => {
    let uptime: () => number = () => performance.now();
    let looks = 0;
    const clock = createSystemClock(() => {
      looks += 1;
      return uptime();
    });
    uptime = () => {
      throw new Error('EMFILE: too many open files');
    };
    const before = clock.boot();
    await eventually('a look fails', () => clock.boot() >= before && looks > 1, 5000);
    uptime = () => performance.now() + 3_600_000;
    await eventually('an hour is found', () => clock.boot() - before > 3_600_000, 5000);
  });
});
