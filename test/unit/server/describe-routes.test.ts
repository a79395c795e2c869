import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { assertOneClassPerName } from '../../../server/admin-api/dto-schemas.js';
import { Text } from '../../../server/admin-api/dto.js';
import { describeApi, describeRoutes } from '../../../server/describe-routes.js';
import { inert } from '../../../server/inert.js';

/** Two classes of one name, as two features may come to declare them. */
function declareTwins(): void {
  const makers = [8, 9].map((max) => () => {
    class TwinBody {
      @Text({ max })
      name!: string;
    }
    return TwinBody;
  });
  for (const make of makers) make();
}

describe('the description of all routes', () => {
  it('is what docs/openapi.json holds, byte for byte', () => {
    const bytes = () => `${JSON.stringify(describeApi(), null, 2)}\n`;
    expect(bytes()).to.equal(bytes()).and.to.equal(readFileSync('docs/openapi.json', 'utf8'));
  });

  it('has every route once, with a permission and a summary', () => {
    const routes = describeRoutes();
    const names = routes.map(({ method, path }) => `${method} ${path}`);
    expect(new Set(names).size).to.equal(names.length).and.to.be.greaterThan(40);
    for (const { permission, summary } of routes) {
      expect(permission).to.be.oneOf(['public', 'auditor', 'operator', 'administrator']);
      expect(summary).to.be.a('string').that.is.not.empty;
    }
  });

  it('gives every operation its own id', () => {
    const paths = Object.values(describeApi()['paths'] as Record<string, Record<string, { operationId: string }>>);
    const ids = paths.flatMap((path) => Object.values(path).map(({ operationId }) => operationId));
    expect(new Set(ids).size).to.equal(ids.length);
  });

  it('serves nothing', async () => {
    const list = describeRoutes().find(({ method, path }) => method === 'get' && path === '/audit');
    const call = list?.handle({ query: { limit: 1 } } as never);
    expect(await Promise.resolve(call).then(String, String)).to.contain('inert');
  });
});

describe('the names of DTO classes', () => {
  it('are refused when two classes share one', () => {
    declareTwins();
    expect(() => assertOneClassPerName(new Set(['TwinBody']))).to.throw('TwinBody');
    assertOneClassPerName(new Set(['NobodyHasThisName']));
  });
});

describe('an inert object', () => {
  it('can be named at any depth and refuses every use', () => {
    const thing = inert<{ a: { b: () => void; c?: number } }>('thing');
    expect(() => thing.a.b()).to.throw('thing.a.b is inert');
    expect(() => (thing.a.c = 1)).to.throw('inert');
  });
});
