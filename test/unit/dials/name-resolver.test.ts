import { expect } from 'chai';
import { createNameResolver } from '../../../server/dials/name-resolver.js';
import { DialFailure, OwnFailure } from '../../../server/dials/dial-failure.js';

interface Pending {
  readonly host: string;
  answer(address: string): void;
  fail(error: Error): void;
}

describe('Resolving the names of agents', () => {
  let pending: Pending[] = [];
  beforeEach(() => (pending = []));

  const create = () =>
    createNameResolver(
      (host) =>
        new Promise((resolve, reject) => {
          pending.push({ host, answer: (address) => resolve([{ address }]), fail: reject });
        }),
    );
  const asking = () => pending.map(({ host }) => host);
  const settled = () => new Promise<void>((resolve) => setImmediate(resolve));
  const failureOf = (work: Promise<unknown>): Promise<unknown> =>
    work.then(
      () => expect.fail('it was resolved'),
      (error: unknown) => error,
    );
  const forever = new AbortController().signal;

  it('asks for a name once, and for two at a time, whoever comes when one is answered', async () => {
    const resolve = create();
    const answers = ['a', 'b', 'c', 'a'].map((host) => resolve(host, forever));
    await settled();
    expect(asking()).to.deep.equal(['a', 'b']);
    pending[0]?.answer('10.0.0.1');
    const [first, again] = await Promise.all([answers[0], answers[3]]);
    expect([first, again]).to.deep.equal([['10.0.0.1'], ['10.0.0.1']]);
    const late = resolve('d', forever);
    await settled();
    expect(asking()).to.deep.equal(['a', 'b', 'c']);
    for (const one of pending) one.answer('10.0.0.2');
    await settled();
    pending.at(-1)?.answer('10.0.0.3');
    expect(await late).to.deep.equal(['10.0.0.3']);
  });

  it('blames a name that is not answered in time, and none that had to wait for others', async () => {
    const resolve = create();
    const aborter = new AbortController();
    const [slow, , waiting] = ['a', 'b', 'c'].map((host) => failureOf(resolve(host, aborter.signal)));
    await settled();
    aborter.abort();
    const blamed = await slow;
    expect(blamed).to.include({ code: 'dns' });
    expect(blamed).to.not.be.instanceOf(OwnFailure);
    expect(await waiting).to.be.instanceOf(OwnFailure);
    pending[0]?.answer('10.0.0.1');
    await settled();
    expect(asking()).to.deep.equal(['a', 'b', 'c']);
    const next = new AbortController();
    const asked = failureOf(resolve('c', next.signal));
    next.abort();
    expect(await asked).to.not.be.instanceOf(OwnFailure);
  });

  it('names why there is no address', async () => {
    const asked = failureOf(create()('a', forever));
    await settled();
    pending[0]?.fail(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }));
    expect(await asked)
      .to.be.instanceOf(DialFailure)
      .and.include({ code: 'dns' });
  });
});
