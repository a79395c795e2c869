import { expect } from 'chai';
import fc from 'fast-check';
import type { PolicyNode } from '../../../policies/resolve-settings.js';
import { applySettingsPatch, parseSettingsPatch } from '../../../policies/settings-patch.js';
import { Problem } from '../../../lib/problem.js';
import { Scope } from '../../../server/access/scope.js';
import type { UnitOfWork } from '../../../server/database/in-transaction.js';
import { PolicyEntity, PolicyRevisionEntity } from '../../../server/policies/policy-entity.js';
import { packMarked, unpackMarked } from '../../../server/previews/marked-query.js';
import { partsOfFleet } from '../../../server/previews/preview-query.js';
import type { Preview } from '../../../server/previews/preview.js';
import { createPreviewService, type PreviewService } from '../../../server/previews/preview-service.js';
import { useDatabase } from '../../support/database.js';
import { startForest, type ForestWorld } from '../../support/domain-world.js';
import { fleetAt, situation, storeFleet, type Computer, type Fleet, type Situation } from './preview-fleet.js';
import { referenceOfFirst, referencePreview } from './preview-reference.js';

const RUNS = 250;
const COMPUTER_RUNS = 120;

describe('previews against the rule', function () {
  this.timeout(120_000);
  const database = useDatabase({ entities: [PolicyEntity, PolicyRevisionEntity] });
  let world: ForestWorld;
  /** Reading the fleet whole and in parts, with all cases and with those that occur. */
  let services: PreviewService[];
  let fleet: Fleet;
  let turn = 0;

  before(async () => {
    world = await startForest(database);
    const ways = [
      { partsAtLeast: 1 },
      { partsAtLeast: 1, casesUnasked: 0 },
      { partsAtLeast: 8 },
      { partsAtLeast: 8, casesUnasked: 0 },
    ];
    services = ways.map((way) => createPreviewService({ ...world, spans: () => fleet.spans, ...way }));
  });

  const place = async (given: Situation): Promise<void> => {
    fleet = fleetAt(world.clock.fleet(), given);
    await storeFleet(world, fleet);
  };

  /** Undefined where the edit is refused. */
  const preview = async (asked: (previews: PreviewService) => Promise<Preview>): Promise<Preview | undefined> =>
    asked(services[(turn += 1) % services.length]!).catch((error: unknown) => {
      if (error instanceof Problem && error.code !== 'unavailable') return undefined;
      throw error;
    });

  it('agree with judging every computer before and after, for random fleets, spans and edits', async () => {
    const seen = { accepted: 0, late: 0, offline: 0, steady: 0, direction: 0 };
    const check = async (given: Situation): Promise<void> => {
      await place(given);
      const { nodes } = fleet;
      const { policy, settings, parent } = given.edit;
      const edited = nodes[policy % nodes.length]!;
      const parentId = parent === undefined ? undefined : (nodes[parent]?.id ?? null);
      const answer = await preview((previews) => previews.ofPolicy(Scope.all, edited.id, { settings, parentId }));
      if (!answer) return;
      const wanted: PolicyNode = {
        ...edited,
        parentId: parentId === undefined ? edited.parentId : parentId,
        settings: applySettingsPatch(edited.settings, parseSettingsPatch(settings ?? {})),
      };
      const after = nodes.map((node) => (node === edited ? wanted : node));
      expect(answer).to.deep.equal(referencePreview(fleet, after, world.clock.fleet()));
      note(seen, answer);
    };
    await fc.assert(fc.asyncProperty(situation, check), { numRuns: RUNS });
    // The cases that matter did occur.
    expect(Math.min(...Object.values(seen)), JSON.stringify(seen)).to.be.greaterThan(3);
  });

  it('outlast many edits between their steps', async () => {
    await place(fc.sample(situation, { numRuns: 1, seed: 7 })[0]!);
    let edits = 0;
    const inTransaction: UnitOfWork = async (work, options) => {
      if (edits < 12) await database.pool.query('UPDATE policy_forest SET counter = counter + 1 WHERE id = 1');
      edits += 1;
      return world.inTransaction(work, options);
    };
    const previews = createPreviewService({ ...world, inTransaction, spans: () => fleet.spans });
    const answer = await previews.ofPolicy(Scope.all, fleet.nodes[0]!.id, { settings: {} });
    expect(edits).to.be.greaterThan(12);
    expect(answer.computersChanged).to.equal(0);
  });

  it('agree for every single computer that is edited or moved', async () => {
    const seen = { accepted: 0, late: 0, offline: 0, steady: 0, direction: 0 };
    const check = async (given: Situation): Promise<void> => {
      await place(given);
      const { nodes, rows } = fleet;
      const row = rows[0]!;
      const { settings } = given.edit;
      const from = row.given.policy % nodes.length;
      const to = given.edit.parent === undefined ? from : given.edit.parent % nodes.length;
      const proposal = { settings, policyId: nodes[to]!.id };
      const answer = await preview((previews) => previews.ofComputer(Scope.all, row.id, proposal));
      if (!answer) return;
      const wanted = applySettingsPatch(row.given.overrides, parseSettingsPatch(settings ?? {}));
      const reference = referenceOfFirst(fleet, { ...proposal, overrides: wanted }, world.clock.fleet());
      expect(answer).to.deep.equal(reference);
      note(seen, answer);
    };
    await fc.assert(fc.asyncProperty(situation, check), { numRuns: COMPUTER_RUNS });
    expect(seen.accepted).to.be.greaterThan(20);
  });

  it('read the computers to be judged one by one in chunks, each once and in order', async () => {
    const [one] = fc.sample(situation, 1);
    const given: Computer = {
      ...one!.fleet[0]!,
      policy: 0,
      kind: 'agent',
      overrides: {},
      status: 'online',
      power: null,
      dials: null,
    };
    const restarting: Computer = { ...given, goodbye: { reason: 'restart', after: 0, expected: null } };
    const stopped: Computer = { ...given, goodbye: null, power: { state: 'stopped', after: 0, expires: null } };
    const dialled: Computer = {
      ...given,
      goodbye: null,
      dials: {
        isDialled: true,
        failed: [
          [5, 7],
          [9, 2],
        ],
      },
    };
    const plain: Computer = { ...given, goodbye: { reason: 'shutdown', after: 0, expected: null } };
    await place({
      ...one!,
      fleet: [restarting, stopped, plain, stopped, restarting, stopped, stopped, restarting, dialled, dialled],
    });
    const subject = { policyId: fleet.nodes[0]!.id, kind: 'agent', overrides: null, rule: 7 } as const;
    const ids: string[] = [];
    const latest = Number.MAX_SAFE_INTEGER;
    const asked = { subjects: [subject], part: partsOfFleet(1)[0]!, latest, chunk: 2 };
    for await (const packed of packMarked(world.sql, asked))
      for (const { id, lastSeenAt, dials } of unpackMarked(packed)) {
        ids.push(id());
        const row = fleet.rows.find((one) => one.id === id())!;
        expect(lastSeenAt).to.equal(row.lastSeenAt);
        const failed = row.given.dials?.failed.map(([after, took]) => [after, took]);
        expect(dials?.failed.map(({ begunAt, endedAt }) => [begunAt - lastSeenAt, endedAt - begunAt])).to.deep.equal(
          failed,
        );
      }
    const marked = fleet.rows.filter(({ given: { goodbye } }) => goodbye?.reason !== 'shutdown');
    expect(ids).to.deep.equal(marked.map(({ id }) => id));
  });
});

function note(
  seen: { accepted: number; late: number; offline: number; steady: number; direction: number },
  answer: Preview,
): void {
  seen.accepted += 1;
  if (answer.wouldBeLate > 0) seen.late += 1;
  if (answer.wouldBeOffline > answer.present.offline) seen.offline += 1;
  if (answer.steadyState.wouldBeLate > 0) seen.steady += 1;
  if (answer.wouldLoseDirection > 0) seen.direction += 1;
}
