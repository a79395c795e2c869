import { expect } from 'chai';
import { existsSync } from 'node:fs';
import { ip, NetworkWorld, namespacesMissing } from '../../support/namespaces.js';
import { skipFor } from '../../support/skip.js';

describe('the network of a test', () => {
  before(function () {
    const missing = namespacesMissing();
    if (missing) skipFor(this, missing);
  });

  it('is removed but for what cannot be, which is told', () => {
    const world = new NetworkWorld();
    const spaces = ['one', 'two', 'three'].map((name) => world.space(name));
    ip('netns', 'del', spaces[0]!.name);
    expect(() => world.remove()).to.throw(AggregateError, 'Not every network namespace could be deleted');
    const left = ip('netns', 'list');
    for (const { name } of spaces) expect(left).to.not.contain(name);
    expect(existsSync(world.folder)).to.equal(false);
  });
});
