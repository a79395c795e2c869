import { expect } from 'chai';
import { assertEveryRouteDeclaresPermission } from '../../../server/access/permissions.js';
import { Schema, Text } from '../../../server/admin-api/dto.js';
import { openApiDocument } from '../../../server/admin-api/openapi.js';
import { PageQuery } from '../../../server/admin-api/page.js';
import { defineRoute, type RouteDefinition } from '../../../server/admin-api/route.js';

class ThingBody {
  @Schema({ description: 'what it is called' })
  @Text({ min: 1, max: 9 })
  name!: string;
}

const BASE = { tag: 'things', summary: 's', handle: async () => ({}) } as const;
const LIST = defineRoute({
  ...BASE,
  method: 'get',
  path: '/things',
  permission: 'auditor',
  query: PageQuery,
  reply: { status: 200 },
});
const PATCH = defineRoute({
  ...BASE,
  method: 'patch',
  path: '/things/:id/parts/:key',
  permission: 'operator',
  body: ThingBody,
  needsIfMatch: true,
  reply: { status: 200, body: ThingBody },
});

describe('the permissions of routes', () => {
  for (const [name, change] of [
    ['none', { permission: undefined }],
    ['an unknown one', { permission: 'root' }],
    ['public', { permission: 'public' }],
  ] as const) {
    it(`refuses a route that declares ${name}`, () => {
      const route = { ...LIST, ...change } as unknown as RouteDefinition;
      expect(() => assertEveryRouteDeclaresPermission([PATCH, route])).to.throw('get /things');
    });
  }

  it('accepts declared ones and the few that are public', () => {
    const signIn = { ...PATCH, method: 'post', path: '/sessions', permission: 'public' } as const;
    assertEveryRouteDeclaresPermission([LIST, PATCH, signIn]);
  });
});

describe('the OpenAPI document', () => {
  const options = { version: '1.2.3', cookieName: 'wardbeat' };
  type Shown = { paths: Record<string, Record<string, Record<string, unknown>>>; components: { schemas: object } };
  const shown = openApiDocument({ ...options, routes: [PATCH, LIST] }) as unknown as Shown;

  it('is the same whatever the order of the routes', () => {
    const other = openApiDocument({ ...options, routes: [LIST, PATCH] });
    expect(JSON.stringify(other)).to.equal(JSON.stringify(shown));
  });

  it('holds the schemas that are used, with all that their decorators say', () => {
    expect(shown.components.schemas).to.have.all.keys('ThingBody', 'Problem');
    expect(shown.components.schemas).to.have.nested.property('ThingBody.properties.name').that.deep.equals({
      type: 'string',
      minLength: 1,
      maxLength: 9,
      description: 'what it is called',
    });
  });

  it('shows parameters of path, query and header', () => {
    const names = (operation: unknown) =>
      (operation as { parameters: { name: string; in: string }[] }).parameters.map((one) => `${one.in} ${one.name}`);
    expect(names(shown.paths['/api/v1/things']?.['get'])).to.deep.equal([
      'query cursor',
      'query limit',
      'query q',
      'query sort',
    ]);
    expect(names(shown.paths['/api/v1/things/{id}/parts/{key}']?.['patch'])).to.deep.equal([
      'path id',
      'path key',
      'header If-Match',
    ]);
  });

  it('offers both content types for a patch', () => {
    const patch = shown.paths['/api/v1/things/{id}/parts/{key}']?.['patch'];
    const { content } = patch!['requestBody'] as { content: object };
    expect(content).to.have.all.keys('application/json', 'application/merge-patch+json');
  });
});
