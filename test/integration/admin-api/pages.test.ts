import { expect } from 'chai';
import { useDatabase } from '../../support/database.js';
import { startAdminWorld, type AdminWorld } from './admin-world.js';

interface Operation {
  readonly 'x-permission': string;
  readonly security: unknown[];
  readonly parameters?: { readonly name: string }[];
}

describe('what the admin port shows to anybody', function () {
  this.timeout(30_000);
  const database = useDatabase();
  let world: AdminWorld;
  const reasons: Record<string, () => Promise<string | null>> = {};
  before(async () => {
    const checks = ['database', 'verdicts'].map((name) => ({ name, check: () => reasons[name]!() }));
    world = await startAdminWorld(database, { checks });
  });
  beforeEach(() => void Object.assign(reasons, { database: async () => null, verdicts: async () => null }));
  after(() => world.close());
  const get = (path: string) => world.raw({ method: 'GET', path });

  it('lives', async () => expect((await get('/healthz')).status).to.equal(200));

  it('is ready when every check holds', async () => {
    const answer = await get('/readyz');
    expect(answer.status).to.equal(200);
    expect(JSON.parse(answer.text)).to.deep.equal({ status: 'ready', checks: ['database', 'verdicts'] });
  });

  it('names what is not ready', async () => {
    reasons['verdicts'] = async () => 'warming';
    reasons['database'] = () => Promise.reject(new Error('connect ECONNREFUSED 10.0.0.1'));
    const answer = await get('/readyz');
    expect(answer.status).to.equal(503);
    expect(JSON.parse(answer.text).notReady).to.deep.equal([
      { name: 'database', reason: 'failed' },
      { name: 'verdicts', reason: 'warming' },
    ]);
    expect(answer.text).not.to.contain('10.0.0.1');
  });

  it('is not ready when a check hangs', async () => {
    reasons['database'] = () => new Promise(() => undefined);
    expect((await get('/readyz')).status).to.equal(503);
  });

  it('serves metrics in Prometheus text', async () => {
    const answer = await get('/metrics');
    expect(answer.status).to.equal(200);
    expect(answer.headers['content-type']).to.contain('text/plain');
  });

  for (const path of ['/', '/docs', '/docs/init.js', '/docs/swagger-ui.css', '/docs/swagger-ui-bundle.js']) {
    it(`serves ${path} without inline scripts or other origins`, async () => {
      const answer = await get(path);
      expect(answer.status).to.equal(200);
      expect(String(answer.headers['content-security-policy'])).to.contain("default-src 'none'");
      expect(String(answer.headers['content-security-policy'])).not.to.contain('unsafe-inline');
      if (answer.text.startsWith('<!doctype')) expect(answer.text).not.to.match(/<script>|on\w+=|https?:\/\//);
    });
  }

  it('serves nothing else of the package', async () => {
    for (const file of ['package.json', 'index.html', '..%2fpackage.json', 'swagger-ui-bundle.js.map'])
      expect((await get(`/docs/${file}`)).status).to.equal(404);
  });

  it('protects every answer', async () => {
    for (const path of ['/', '/api/v1/users', '/nothing']) {
      const { headers } = await get(path);
      expect(headers).to.include({ 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' });
      expect(headers['content-security-policy']).to.contain("frame-ancestors 'none'");
      expect(headers).not.to.have.any.keys('x-powered-by', 'server', 'strict-transport-security');
    }
  });

  it('describes every route with its permission, the same each time', async () => {
    const first = await get('/api/v1/openapi.json');
    expect(first.status).to.equal(200);
    expect((await get('/api/v1/openapi.json')).text).to.equal(first.text);
    const document = JSON.parse(first.text) as { openapi: string; paths: Record<string, Record<string, Operation>> };
    expect(document.openapi).to.equal('3.1.0');
    for (const route of world.api.routes) {
      const operation = document.paths[`/api/v1${route.path.replaceAll(/:(\w+)/g, '{$1}')}`]?.[route.method];
      expect(operation?.['x-permission'], `${route.method} ${route.path}`).to.equal(route.permission);
      expect(operation?.security.length === 0).to.equal(route.permission === 'public');
    }
    const list = document.paths['/api/v1/audit']?.['get'];
    expect(list?.parameters?.map(({ name }) => name)).to.deep.equal([
      'action',
      'actorId',
      'cursor',
      'limit',
      'q',
      'sort',
      'subjectId',
    ]);
  });
});
