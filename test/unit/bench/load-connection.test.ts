import { expect } from 'chai';
import { openPrepared, type LoadConnection } from '../../../scripts/bench/load-connection.js';

describe('a connection of a load', () => {
  let closed: number;
  const connection: LoadConnection = { exchange: () => Promise.resolve(''), close: () => void (closed += 1) };
  const open = () => Promise.resolve(connection);

  beforeEach(() => {
    closed = 0;
  });

  it('is closed where the network fails before it is of use', async () => {
    const reset = new Error('The connection was closed');
    const outcome = await openPrepared(open, () => Promise.reject(reset)).catch((error: unknown) => error);
    expect([outcome, closed]).to.deep.equal([reset, 1]);
  });

  it('is kept once it is prepared', async () => {
    expect(await openPrepared(open, () => Promise.resolve())).to.equal(connection);
    expect(closed).to.equal(0);
  });
});
