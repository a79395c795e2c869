import { expect } from 'chai';
import { createSystemRandom } from '../../../lib/random.js';
import { createPasswordHasher } from '../../../server/users/password-hasher.js';

describe('hashing passwords', () => {
  const random = createSystemRandom();
  const cheap = createPasswordHasher({ random, log2N: 4 });

  it('verifies the right one only, in whatever composition its letters came', async () => {
    const stored = await cheap.hash('caf\u00e9 au lait');
    expect(await cheap.verify('cafe\u0301 au lait', stored)).to.equal(true);
    expect(await cheap.verify('cafe au lait', stored)).to.equal(false);
  });

  it('salts', async () => {
    expect(await cheap.hash('same')).not.to.equal(await cheap.hash('same'));
  });

  it('is false without a stored hash or with a damaged one', async () => {
    for (const stored of [undefined, '', 'scrypt$4$$', 'scrypt$4$AAAA$AAAA'])
      expect(await cheap.verify('x', stored)).to.equal(false);
  });

  it('keeps the cost with the hash, so that it may rise later', async () => {
    const stored = await cheap.hash('x');
    expect(await createPasswordHasher({ random, log2N: 5 }).verify('x', stored)).to.equal(true);
  });

  it('uses N = 2^17 unless told otherwise', async () => {
    expect(await createPasswordHasher({ random }).hash('x')).to.match(/^scrypt\$17\$/);
  });

  it('turns away what does not fit into its queue', async () => {
    const hasher = createPasswordHasher({ random, log2N: 10 });
    const answers = await Promise.allSettled(Array.from({ length: 40 }, () => hasher.hash('x')));
    const refused = answers.filter(({ status }) => status === 'rejected');
    expect(refused).to.have.length(6);
    expect((refused[0] as PromiseRejectedResult).reason).to.include({ code: 'too-many-requests' });
    expect(await hasher.hash('x')).to.contain('scrypt');
  });
});
