import { createHash } from 'node:crypto';
import { expect } from 'chai';

import type { Report } from '../../../protocol/heartbeat-messages.js';
import { heldText, type InventoryKind, type PackageItem } from '../../../protocol/inventory-messages.js';
import { Scope } from '../../../server/access/scope.js';
import type { Page } from '../../../server/admin-api/page.js';
import { listComputerRows, COMPUTER_ORDER } from '../../../server/computers/computer-list-query.js';
import { parsePage } from '../../../server/admin-api/page.js';
import { sqlOfClient } from '../../../server/database/sql.js';
import { telemetryRoutes } from '../../../server/telemetry/index.js';
import type {
  ConnectionDto,
  InventoryDto,
  ListeningPortDto,
  MetricsDto,
  PackageDto,
} from '../../../server/telemetry/telemetry-dto.js';
import { useDatabase } from '../../support/database.js';
import { callerOf } from '../../support/domain-world.js';
import { addComputers, createIngestWorld, seedForest, type IngestWorld } from '../../support/ingest-world.js';

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');
const packageOf = (name: string, version = '1'): PackageItem => ({
  name,
  version,
  architecture: 'all',
  source: 'dpkg',
});
const held = (digests: Partial<Record<InventoryKind, string>>) => digestOf(heldText(digests));

describe('the inventory of a computer', () => {
  const database = useDatabase();
  let world: IngestWorld;
  let call: ReturnType<typeof callerOf>;

  before(async () => {
    await seedForest(database.pool);
    world = createIngestWorld(database.pool);
    const sql = sqlOfClient(database.pool);
    call = callerOf(telemetryRoutes({ sql, clock: world.clock, assertVisible: async () => undefined }));
  });

  const settled = async (changes: Partial<Report> = {}) => {
    const [id] = await addComputers(database.pool, 1);
    const first = await world.beat(id!, changes);
    const steady = { appliedFingerprint: first.settings!.fingerprint, ...changes };
    await world.beat(id!, steady);
    return { id: id!, steady };
  };
  const whole = (items: readonly PackageItem[], digest: string) => ({
    packages: { base: null, digest, total: items.length, added: items, removed: [] },
  });
  const packagesOf = async (id: string) => {
    const { body } = await call<Page<PackageDto>>('get', '/computers/:id/inventory/packages', { params: { id } });
    return body.items.map(({ name, version }) => `${name} ${version}`);
  };

  it('is stored whole, then by changes, each acknowledged by its digest', async () => {
    const { id, steady } = await settled();
    const [a, b] = [digestOf('a'), digestOf('b')];
    const items = [packageOf('openssl', '3.0'), packageOf('bash'), packageOf('zlib')];
    const first = await world.beat(id, {
      ...steady,
      inventory: whole(items, a),
      inventoryDigest: held({ packages: a }),
    });
    expect(first.inventory).to.deep.equal({ packages: a, listeningPorts: null, connections: null });
    expect(await packagesOf(id)).to.deep.equal(['bash 1', 'openssl 3.0', 'zlib 1']);
    const change = {
      base: a,
      digest: b,
      total: 7,
      added: [packageOf('openssl', '3.1')],
      removed: [items[0]!, items[1]!],
    };
    const second = await world.beat(id, {
      ...steady,
      inventory: { packages: change },
      inventoryDigest: held({ packages: b }),
    });
    expect(second.inventory?.packages).to.equal(b);
    expect(await packagesOf(id)).to.deep.equal(['openssl 3.1', 'zlib 1']);
    const { body } = await call<InventoryDto>('get', '/computers/:id/inventory', { params: { id } });
    expect(body.kinds.map(({ kind, total, listed }) => [kind, total, listed])).to.deep.equal([['packages', 7, 2]]);
  });

  it('costs a steady report no statement, and a change no more than its own', async () => {
    const a = digestOf('a');
    const { id, steady } = await settled({ inventoryDigest: held({}) });
    const statements = async (changes: Partial<Report>) => {
      const before = world.metrics.statements;
      await world.beat(id, { ...steady, ...changes });
      return world.metrics.statements - before;
    };
    expect(await statements({})).to.equal(4);
    const first = await statements({
      inventory: whole([packageOf('bash')], a),
      inventoryDigest: held({ packages: a }),
    });
    // Read, delete, insert, standing.
    expect(first).to.equal(8);
    expect(await statements({ inventoryDigest: held({ packages: a }) })).to.equal(4);
  });

  it('is asked for whole where the base is another, and where the manager has lost it', async () => {
    const { id, steady } = await settled();
    const [a, b] = [digestOf('a'), digestOf('b')];
    const unknown = { packages: { base: b, digest: a, total: 1, added: [packageOf('bash')], removed: [] } };
    const refused = await world.beat(id, { ...steady, inventory: unknown, inventoryDigest: held({ packages: a }) });
    expect(refused.inventory?.packages).to.equal(null);
    expect(await packagesOf(id)).to.deep.equal([]);
    await world.beat(id, {
      ...steady,
      inventory: whole([packageOf('bash')], a),
      inventoryDigest: held({ packages: a }),
    });
    await database.pool.query('DELETE FROM computer_inventories WHERE computer_id = $1', [id]);
    const known = { ...steady, inventoryDigest: held({ packages: a }) };
    expect((await world.beat(id, known)).inventory).to.equal(undefined);
    // Once a day, and whenever something else is new.
    const told = await world.beat(id, { ...known, agentVersion: '0.2.0' });
    expect(told.inventory?.packages).to.equal(null);
  });

  it('answers a repeat as the first time and stores nothing twice', async () => {
    const { id, steady } = await settled();
    const a = digestOf('a');
    const items = [packageOf('bash'), packageOf('bash')];
    const exchange = world.report(id, {
      ...steady,
      inventory: whole(items, a),
      inventoryDigest: held({ packages: a }),
    });
    const [first, again] = [await world.batcher.submit(exchange), await world.batcher.submit(exchange)];
    expect([first.effect, again.effect]).to.deep.equal(['accepted', 'repeat']);
    expect(again.inventory).to.deep.equal(first.inventory);
    expect(await packagesOf(id)).to.deep.equal(['bash 1']);
  });

  it('waits where too much is to be stored, and the heartbeat does not', async () => {
    const busy = createIngestWorld(database.pool, { batcher: { maxInventoryRows: 1 } });
    const [id] = await addComputers(database.pool, 1);
    const a = digestOf('a');
    const items = [packageOf('bash'), packageOf('zlib')];
    const orders = await busy.beat(id!, { inventory: whole(items, a), inventoryDigest: held({ packages: a }) });
    expect([orders.effect, orders.inventory?.packages]).to.deep.equal(['accepted', null]);
    expect(await packagesOf(id!)).to.deep.equal([]);
  });

  const bounded = async (removed: readonly PackageItem[]) => {
    const { id, steady } = await settled();
    let base: string | null = null;
    let refusals = 0;
    for (let round = 0; round < 14; round += 1) {
      const digest: string = digestOf(`round ${round}`);
      const added = Array.from({ length: 2000 }, (_, index) => packageOf(`p${round}-${index}`));
      const inventory = { packages: { base, digest, total: 1, added, removed } };
      const orders = await world.beat(id, { ...steady, inventory, inventoryDigest: held({ packages: digest }) });
      if (orders.inventory?.packages !== digest) refusals += 1;
      else base = digest;
    }
    expect(refusals).to.be.greaterThan(0);
    const { rows } = await database.pool.query(
      'SELECT count(*)::int AS n FROM computer_packages WHERE computer_id = $1',
      [id],
    );
    expect(rows[0].n).to.be.at.most(22_000);
  };

  it('never grows beyond its bounds, whatever an agent says', async function () {
    this.timeout(60_000);
    await bounded([]);
  });

  it('never grows beyond its bounds by items that are removed in vain', async function () {
    this.timeout(60_000);
    await bounded(Array.from({ length: 2000 }, (_, index) => packageOf(`absent-${index}`)));
  });

  it('shows ports and connections with their processes, paged and searched', async () => {
    const { id, steady } = await settled();
    const digest = digestOf('x');
    const ports = [8080, 22, 443].map((port) => ({
      protocol: 'tcp' as const,
      address: '0.0.0.0',
      port,
      uid: 0,
      ...(port === 22 ? { process: { pid: 7, name: 'sshd' } } : {}),
    }));
    const connections = [
      { protocol: 'tcp' as const, localAddress: '10.0.0.1', localPort: 5, remoteAddress: '10.0.0.2', remotePort: 443 },
    ];
    const change = { base: null, digest, removed: [] };
    const inventory = {
      listeningPorts: { ...change, total: 3, added: ports },
      connections: { ...change, total: 900, added: connections },
    };
    await world.beat(id, {
      ...steady,
      inventory,
      inventoryDigest: held({ listeningPorts: digest, connections: digest }),
    });
    const portsPage = (query: object) =>
      call<Page<ListeningPortDto>>('get', '/computers/:id/inventory/listening-ports', { params: { id }, query });
    const first = (await portsPage({ limit: 2 })).body;
    expect(first.items.map(({ port, processName }) => [port, processName])).to.deep.equal([
      [22, 'sshd'],
      [443, null],
    ]);
    const second = (await portsPage({ limit: 2, cursor: first.next })).body;
    expect([second.items.map(({ port }) => port), second.next]).to.deep.equal([[8080], null]);
    expect(
      (await portsPage({ q: 'SSH' })).body.items.map(({ port, uid, processId }) => [port, uid, processId]),
    ).to.deep.equal([[22, 0, 7]]);
    expect((await portsPage({ sort: '-port' })).body.items[0]?.port).to.equal(8080);
    const shown = await call<Page<ConnectionDto>>('get', '/computers/:id/inventory/connections', { params: { id } });
    expect(
      shown.body.items.map(({ remoteAddress, remotePort, uid }) => [remoteAddress, remotePort, uid]),
    ).to.deep.equal([['10.0.0.2', 443, null]]);
  });

  it('finds the computers that have a package, in a version or whatever one', async () => {
    const [old, fresh] = [await settled(), await settled()];
    for (const [{ id, steady }, version] of [
      [old, '1'],
      [fresh, '2'],
    ] as const) {
      const digest = digestOf(version);
      await world.beat(id, {
        ...steady,
        inventory: whole([packageOf('rare', version)], digest),
        inventoryDigest: held({ packages: digest }),
      });
    }
    const found = async (...packages: { name: string; version: string | undefined }[]) => {
      const filters = { statuses: [], policyId: undefined, labels: [], packages, q: undefined };
      const page = parsePage({ limit: 50 }, COMPUTER_ORDER);
      const rows = await listComputerRows(sqlOfClient(database.pool), Scope.all, { page, filters });
      return rows.map((row) => row.computer_id).sort();
    };
    expect(await found({ name: 'rare', version: undefined })).to.deep.equal([old.id, fresh.id].sort());
    expect(await found({ name: 'rare', version: '2' })).to.deep.equal([fresh.id]);
    expect(await found({ name: 'rare', version: '2' }, { name: 'absent', version: undefined })).to.deep.equal([]);
  });

  it('has the latest metrics beside it, and null for what was not told', async () => {
    const host = {
      uptimeSeconds: 5,
      processes: 9,
      cpu: { load: [1, 2, 3], usedPercent: 12.5 },
      memory: { totalBytes: 100, availableBytes: 40, swapTotalBytes: 0, swapFreeBytes: 0 },
      disk: { mounts: [{ path: '/', device: '/dev/sda1', type: 'ext4', totalBytes: 10, freeBytes: 'many' }] },
      network: [{ name: 'eth0', receivedBytes: 1, sentBytes: 2 }],
    };
    const { id, steady } = await settled();
    await world.beat(id, { ...steady, counters: { host } });
    await world.recorder.flush();
    const metrics = async () => (await call<MetricsDto>('get', '/computers/:id/metrics', { params: { id } })).body;
    expect(await metrics()).to.deep.include({
      uptimeSeconds: 5,
      processes: 9,
      load: [1, 2, 3],
      cpuUsedPercent: 12.5,
      memory: { totalBytes: 100, availableBytes: 40 },
      mounts: [{ path: '/', device: '/dev/sda1', type: 'ext4', totalBytes: 10, freeBytes: null }],
      network: [{ name: 'eth0', receivedBytes: 1, sentBytes: 2 }],
    });
    await world.beat(id, { ...steady, counters: {}, collection: 'stopped' });
    await world.recorder.flush();
    expect(await metrics()).to.deep.include({ uptimeSeconds: null, load: [], mounts: [] });
  });
});
