import { expect } from 'chai';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { listAll } from '../support/event-ledger.js';
import { accusationsOf, degradationsOf, inWords, rootPolicyOf, untilOnline } from '../support/fleet-in-process.js';
import { FleetWorld } from '../support/fleet-world.js';
import { makeDataDir, removeDataDir } from '../support/manager-process.js';
import { eventually } from '../support/poll.js';

const AGENTS = Number(process.env['WARDBEAT_TEST_AGENTS'] ?? 18);
const LISTENERS_FROM = 25_000;
/** The strictest settings: the first heartbeat that is missed raises the alert. */
const SETTINGS = { heartbeatIntervalSeconds: 5, heartbeatsMissedAllowed: 0 };
const PATIENCE_MS = 180_000;

interface Certificate {
  readonly serial: string;
  readonly computerId: string;
  readonly state: string;
  readonly renews: string | null;
  readonly usedAt: string | null;
  readonly keyDigest: string;
}

interface Operation {
  readonly id: string;
  readonly state: string;
  readonly matched: number;
}

interface Target {
  readonly state: string;
  readonly reason: string | null;
}

describe(`every certificate of ${AGENTS} real agents of all directions is renewed while they are watched`, function () {
  this.timeout(900_000);
  const root = makeDataDir();
  let world: FleetWorld;

  before(async () => {
    world = await FleetWorld.start({ root, settings: SETTINGS });
    await world.joinAllDirections(AGENTS, LISTENERS_FROM);
    await untilOnline(world.manager, AGENTS);
  });
  after(async () => {
    await world?.end();
    removeDataDir(root);
  });

  const ask = async (): Promise<string> => {
    const policyId = await rootPolicyOf(world.manager);
    const action = { command: { type: 'rotate-certificate' } };
    const queued = await world.manager.api.post<Operation>('/computers/bulk', { filter: { policyId }, action });
    expect(queued.matched).to.equal(AGENTS);
    return queued.id;
  };
  const targetsOf = (id: string) => listAll<Target>(world.manager.api, `/operations/${id}/targets`);
  const untilEnded = (id: string) =>
    eventually(
      'the operation ends',
      async () => {
        const { state } = await world.manager.api.get<Operation>(`/operations/${id}`);
        return state === 'finished' || state === 'cancelled' ? targetsOf(id) : undefined;
      },
      PATIENCE_MS,
    );
  const valid = () => listAll<Certificate>(world.manager.api, '/certificates?state=valid');
  /** The one certificate of each computer, which it uses and whose key it has. */
  const eachHasOne = () =>
    eventually(
      'each has one certificate, and uses it',
      async () => {
        const all = await valid();
        const isUsed = all.every(({ renews, usedAt }) => renews === null || usedAt !== null);
        return isUsed && all.length === AGENTS ? all : undefined;
      },
      PATIENCE_MS,
    );
  const serialsOf = (certificates: readonly Certificate[]) =>
    new Map(certificates.map(({ computerId, serial }) => [computerId, serial]));
  const nobodyIsAccused = async () =>
    expect((await accusationsOf(world.manager)).map(inWords), 'accusations').to.deep.equal([]);

  it('at once, without a missed heartbeat', async () => {
    const before = serialsOf(await eachHasOne());
    const begun = performance.now();
    const targets = await untilEnded(await ask());
    const seconds = (performance.now() - begun) / 1000;
    expect(targets.map(({ state }) => state)).to.deep.equal(targets.map(() => 'succeeded'));
    const after = await eachHasOne();
    for (const { computerId, serial, renews } of after) {
      expect(serial).not.to.equal(before.get(computerId));
      expect(renews).to.equal(before.get(computerId));
    }
    const agents = world.fleets.flatMap(({ agents: ofFleet }) => ofFleet);
    const keys = agents.map(({ directory }) => readFileSync(join(directory, 'agent.key'), 'utf8'));
    expect(new Set(keys.map((key) => createHash('sha256').update(key).digest('hex'))).size).to.equal(AGENTS);
    expect(new Set(after.map(({ keyDigest }) => keyDigest)).size).to.equal(AGENTS);
    await untilOnline(world.manager, AGENTS);
    await nobodyIsAccused();
    expect(await degradationsOf(world.manager)).to.deep.equal([]);
    console.error(JSON.stringify({ agents: AGENTS, renewed: targets.length, seconds: Math.round(seconds) }));
  });

  it('while the manager is killed in the middle of it: none is lost, none has two', async () => {
    const before = serialsOf(await eachHasOne());
    const id = await ask();
    await eventually('some are renewed', async () => {
      const serials = serialsOf(await valid());
      const renewed = [...before].filter(([computerId, serial]) => serials.get(computerId) !== serial).length;
      return renewed > AGENTS / 4;
    });
    world.manager.kill('SIGKILL');
    await world.manager.ended;
    await world.startAgain();
    const targets = await untilEnded(id);
    expect(targets.map(({ state }) => state)).to.deep.equal(targets.map(() => 'succeeded'));
    await untilOnline(world.manager, AGENTS);
    const after = await eachHasOne();
    for (const { computerId, serial } of after) expect(serial).not.to.equal(before.get(computerId));
    await nobodyIsAccused();
    console.error(JSON.stringify({ agents: AGENTS, renewed: targets.length, killed: 1 }));
  });
});
