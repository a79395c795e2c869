import { expect } from 'chai';
import fc from 'fast-check';
import {
  isIncidentOver,
  isMassOutage,
  nameOutages,
  outageBeganAt,
  reviseIncidents,
  silenceWindowMs,
  type SilentGroup,
} from '../../../policies/incident-rules.js';

/** Computers by what they share; of each sort so many are silent, and so many are not. */
interface Sort {
  readonly factors: string;
  readonly silent?: number;
  readonly alive?: number;
  readonly held?: string;
}

function lossOf(sorts: readonly Sort[]) {
  const groups: SilentGroup[] = [];
  const alive = new Map<string, number>();
  for (const { factors, silent = 0, alive: living = 0, held = null } of sorts) {
    const keys = [...factors.split(' '), 'fleet'];
    if (silent > 0) groups.push({ factors: keys, incidentId: held, silent });
    for (const key of keys) alive.set(key, (alive.get(key) ?? 0) + living);
  }
  return { groups, aliveOf: (factor: string) => alive.get(factor) ?? 0 };
}

function named(sorts: readonly Sort[]): string[] {
  const { groups, aliveOf } = lossOf(sorts);
  return nameOutages(groups, aliveOf).map(
    ({ factor, explained, exceptions }) => `${factor} ${explained}/${explained + exceptions}`,
  );
}

const A = 'subnet/a';
const B = 'subnet/b';
const C = 'subnet/c';
const D = 'subnet/d';

describe('the share that makes an incident', () => {
  for (const [silent, of, opens] of [
    [3, 3, true],
    [3, 5, true],
    [2, 2, false],
    [2, 3, false],
    [11, 20, true],
    [10, 20, false],
    [55, 100, true],
    [54, 100, false],
    [0, 0, false],
  ] as const)
    it(`is ${opens ? '' : 'not '}reached by ${silent} of ${of}`, () =>
      expect(isMassOutage(silent, of)).to.equal(opens));

  for (const [silent, of, over] of [
    [100, 100, false],
    [25, 100, false],
    [24, 100, true],
    [3, 12, false],
    [3, 13, true],
    [2, 3, true],
    [3, 3, false],
    [0, 10, true],
  ] as const)
    it(`has ${over ? '' : 'not '}gone with ${silent} of ${of}`, () =>
      expect(isIncidentOver(silent, of)).to.equal(over));

  it('is looked for within two intervals, and within five minutes at least', () => {
    expect([5_000, 60_000, 150_000, 150_001, 86_400_000].map(silenceWindowMs)).to.deep.equal([
      300_000, 300_000, 300_000, 300_002, 172_800_000,
    ]);
  });

  it('was reached when the computer that filled it fell silent', () => {
    expect(outageBeganAt([50, 10, 40, 20, 30, 60], 10)).to.equal(60);
    expect(outageBeganAt([50, 10, 40, 20, 30, 60], 9)).to.equal(50);
    expect(outageBeganAt([50, 10, 40, 20, 30], 5)).to.equal(30);
    expect(outageBeganAt([300, 20, 100], 3)).to.equal(300);
    expect(outageBeganAt([7, 5], 20)).to.equal(7);
  });
});

describe('naming what silent computers have in common', () => {
  const table: readonly { name: string; sorts: readonly Sort[]; expected: readonly string[] }[] = [
    { name: 'nothing for nothing', sorts: [{ factors: A, alive: 9 }], expected: [] },
    {
      name: 'the site that is gone, not the fleet around it',
      sorts: [
        { factors: A, silent: 100 },
        { factors: B, alive: 100 },
        { factors: C, alive: 100 },
      ],
      expected: [`${A} 100/100`],
    },
    {
      name: 'nothing where fewer than three are silent',
      sorts: [
        { factors: A, silent: 2 },
        { factors: B, alive: 1 },
      ],
      expected: [],
    },
    {
      name: 'nothing for losses that are spread',
      sorts: [
        { factors: A, silent: 4, alive: 6 },
        { factors: B, silent: 4, alive: 6 },
      ],
      expected: [],
    },
    {
      name: 'the fleet when everything is silent',
      sorts: [
        { factors: A, silent: 100 },
        { factors: B, silent: 100 },
        { factors: C, silent: 100 },
      ],
      expected: ['fleet 300/300'],
    },
    {
      name: 'the fleet when all but a few are silent',
      sorts: [
        { factors: A, silent: 98, alive: 2 },
        { factors: B, silent: 97, alive: 3 },
        { factors: C, silent: 99, alive: 1 },
      ],
      expected: ['fleet 294/300'],
    },
    {
      name: 'the fleet where a factor is shared by all of it',
      sorts: [
        { factors: `${A} platform/linux`, silent: 4 },
        { factors: `${B} platform/linux`, silent: 4 },
        { factors: `${C} platform/linux`, silent: 4 },
        { factors: `${D} platform/linux`, silent: 4, alive: 1 },
      ],
      expected: ['fleet 16/17'],
    },
    {
      name: 'a factor that one in contact does not share',
      sorts: [
        { factors: `${A} platform/linux`, silent: 4 },
        { factors: `${B} platform/linux`, silent: 4 },
        { factors: `${C} platform/linux`, silent: 4 },
        { factors: `${D} platform/linux`, silent: 4 },
        { factors: `${D} platform/windows`, alive: 1 },
      ],
      expected: ['platform/linux 16/16'],
    },
    {
      name: 'the most specific of factors that explain the same',
      sorts: [
        { factors: `platform/x agentVersion/1 label/site=a policy/p ${A} proxy/q`, silent: 10 },
        { factors: B, alive: 10 },
      ],
      expected: [`${A} 10/10`],
    },
    {
      name: 'the first by name of factors that are equal in all else',
      sorts: [
        { factors: 'label/z=1 label/a=1 label/m=1', silent: 10 },
        { factors: B, alive: 10 },
      ],
      expected: ['label/a=1 10/10'],
    },
    {
      name: 'the wider factor when it explains more',
      sorts: [
        { factors: `${A} proxy/q`, silent: 10 },
        { factors: `${B} proxy/q`, silent: 10 },
        { factors: `${C}`, alive: 10 },
      ],
      expected: ['proxy/q 20/20'],
    },
    {
      name: 'the narrower factor when the wider one has more exceptions than it explains besides',
      sorts: [
        { factors: `${A} proxy/q`, silent: 10 },
        { factors: `${B} proxy/q`, silent: 2, alive: 3 },
        { factors: C, alive: 10 },
      ],
      expected: [`${A} 10/10`],
    },
    {
      name: 'two sites that are gone, one by one',
      sorts: [
        { factors: A, silent: 20 },
        { factors: B, silent: 10 },
        { factors: C, alive: 30 },
      ],
      expected: [`${A} 20/20`, `${B} 10/10`],
    },
    {
      name: 'two sites rather than a fleet of which a third is in contact',
      sorts: [
        { factors: A, silent: 150 },
        { factors: B, silent: 150 },
        { factors: C, alive: 100 },
      ],
      expected: [`${A} 150/150`, `${B} 150/150`],
    },
    {
      name: 'three sites rather than a fleet',
      sorts: [
        { factors: A, silent: 100 },
        { factors: B, silent: 100 },
        { factors: C, silent: 100 },
        { factors: D, alive: 100 },
      ],
      expected: [`${A} 100/100`, `${B} 100/100`, `${C} 100/100`],
    },
    {
      name: 'the fleet rather than four sites of five',
      sorts: [
        { factors: A, silent: 10 },
        { factors: B, silent: 10 },
        { factors: C, silent: 10 },
        { factors: D, silent: 10 },
        { factors: 'subnet/e', alive: 8 },
      ],
      expected: ['fleet 40/48'],
    },
    {
      name: 'what a first incident leaves over, counted without those it explains',
      sorts: [
        { factors: `${A} label/rack=1`, silent: 20 },
        { factors: `${B} label/rack=1`, silent: 3, alive: 2 },
        { factors: 'subnet/e', alive: 60 },
      ],
      expected: [`label/rack=1 23/25`],
    },
    {
      name: 'nothing more for what is explained already',
      sorts: [
        { factors: `${A} label/rack=1`, silent: 20 },
        { factors: `${A} label/rack=2`, silent: 20 },
        { factors: 'subnet/e', alive: 60 },
      ],
      expected: [`${A} 40/40`],
    },
  ];
  for (const { name, sorts, expected } of table) it(`says ${name}`, () => expect(named(sorts)).to.deep.equal(expected));

  it('names no more than a page of incidents in one look', () => {
    const sorts = Array.from({ length: 40 }, (_, index) => ({ factors: `subnet/${index}`, silent: 3 }));
    expect(named([...sorts, { factors: 'subnet/x', alive: 1000 }])).to.have.length(32);
  });

  const sort = fc.record({
    factors: fc
      .tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 1 }))
      .map(([subnet, label, platform]) => `subnet/${subnet} label/l=${label} platform/${platform}`),
    silent: fc.integer({ min: 0, max: 12 }),
    alive: fc.integer({ min: 0, max: 12 }),
  });
  const fleet = fc.array(sort, { maxLength: 12 });

  it('never explains a computer twice, nor more than are silent, and only what is a mass outage', () => {
    fc.assert(
      fc.property(fleet, (sorts) => {
        const { groups, aliveOf } = lossOf(sorts);
        const outages = nameOutages(groups, aliveOf);
        const silent = groups.reduce((sum, group) => sum + group.silent, 0);
        const explained = outages.reduce((sum, outage) => sum + outage.explained, 0);
        expect(explained).to.be.at.most(silent);
        expect(new Set(outages.map(({ factor }) => factor)).size).to.equal(outages.length);
        for (const { factor, explained: own, exceptions } of outages) {
          expect(isMassOutage(own, own + exceptions), factor).to.equal(true);
          expect(exceptions).to.equal(aliveOf(factor));
        }
      }),
    );
  });

  it('leaves nothing that is a mass outage of its own', () => {
    fc.assert(
      fc.property(fleet, (sorts) => {
        const { groups, aliveOf } = lossOf(sorts);
        const outages = nameOutages(groups, aliveOf);
        const rest = groups.filter(({ factors }) => !outages.some(({ factor }) => factors.includes(factor)));
        const silent = rest.reduce((sum, group) => sum + group.silent, 0);
        expect(isMassOutage(silent, silent + aliveOf('fleet'))).to.equal(false);
      }),
    );
  });

  it('does not depend on the order of what it is told', () => {
    fc.assert(
      fc.property(fleet, (sorts) => {
        expect(named(sorts.toReversed())).to.deep.equal(named(sorts));
      }),
    );
  });
});

describe('revising open incidents', () => {
  function revised(open: Readonly<Record<string, string>>, sorts: readonly Sort[]) {
    const { groups, aliveOf } = lossOf(sorts);
    const incidents = Object.entries(open).map(([id, factor]) => ({ id, factor }));
    const { opened, widened } = reviseIncidents(incidents, groups, aliveOf);
    return {
      opened: opened.map(({ factor }) => factor),
      widened: widened.map(({ into, incidentIds }) => [into.factor, ...incidentIds]),
    };
  }
  const NOTHING = { opened: [], widened: [] };

  it('opens what is new', () => {
    expect(
      revised({}, [
        { factors: A, silent: 5 },
        { factors: B, alive: 5 },
      ]),
    ).to.deep.equal({ opened: [A], widened: [] });
  });

  it('leaves an incident alone that explains what is silent', () => {
    expect(
      revised({ i: A }, [
        { factors: A, silent: 5, held: 'i' },
        { factors: B, alive: 5 },
      ]),
    ).to.deep.equal(NOTHING);
  });

  it('opens another beside it for another site', () => {
    expect(
      revised({ i: A }, [
        { factors: A, silent: 5, held: 'i' },
        { factors: B, silent: 5 },
        { factors: C, alive: 50 },
      ]),
    ).to.deep.equal({ opened: [B], widened: [] });
  });

  it('widens it when the rest follows', () => {
    expect(
      revised({ i: A }, [
        { factors: A, silent: 5, held: 'i' },
        { factors: B, silent: 5 },
        { factors: C, silent: 5 },
      ]),
    ).to.deep.equal({ opened: [], widened: [['fleet', 'i']] });
  });

  it('does not rename it for two more, but for three', () => {
    const withMore = (more: number): Sort[] => [
      { factors: `${A} label/x=1`, silent: 9, held: 'i' },
      { factors: `${B} label/x=1`, silent: more },
      { factors: C, alive: 50 },
    ];
    expect(revised({ i: A }, withMore(2))).to.deep.equal(NOTHING);
    expect(revised({ i: A }, withMore(3))).to.deep.equal({ opened: [], widened: [['label/x=1', 'i']] });
  });

  it('takes several together in the oldest, even if nothing is new', () => {
    expect(
      revised({ i: A, j: B }, [
        { factors: A, silent: 5, held: 'i' },
        { factors: B, silent: 5, held: 'j' },
        { factors: C, silent: 1 },
      ]),
    ).to.deep.equal({ opened: [], widened: [['fleet', 'i', 'j']] });
  });

  it('keeps the one that has the wider name already, whichever is older', () => {
    expect(
      revised({ i: A, j: 'fleet' }, [
        { factors: A, silent: 5, held: 'i' },
        { factors: B, silent: 5, held: 'j' },
        { factors: C, silent: 5, held: 'j' },
      ]),
    ).to.deep.equal({ opened: [], widened: [['fleet', 'j', 'i']] });
  });

  it('lets it take in what follows later and did not join it', () => {
    expect(
      revised({ i: A }, [
        { factors: A, silent: 40, held: 'i' },
        { factors: A, silent: 30, alive: 30 },
        { factors: B, alive: 500 },
      ]),
    ).to.deep.equal({ opened: [], widened: [[A, 'i']] });
  });

  it('replaces only what mostly belongs to the new name', () => {
    const half = (inside: number): Sort[] => [
      { factors: `${A} label/x=1`, silent: inside, held: 'i' },
      { factors: `${A} label/y=1`, silent: 4, alive: 20, held: 'i' },
      { factors: `${B} label/x=1`, silent: 9 },
      { factors: C, alive: 50 },
    ];
    expect(revised({ i: A }, half(4))).to.deep.equal({ opened: ['label/x=1'], widened: [] });
    expect(revised({ i: A }, half(5))).to.deep.equal({ opened: [], widened: [['label/x=1', 'i']] });
  });

  it('leaves one alone that is still named, though most of what it holds has another name too', () => {
    expect(
      revised({ i: 'label/x=1' }, [
        { factors: `${A} label/x=1`, silent: 6, held: 'i' },
        { factors: A, silent: 9 },
        { factors: `${B} label/x=1`, silent: 4, held: 'i' },
        { factors: B, alive: 5 },
        { factors: C, alive: 50 },
      ]),
    ).to.deep.equal({ opened: [A], widened: [] });
  });

  it('gives an incident to one successor only, and neither opens nor widens without three that are new', () => {
    const sort = fc.record({
      factors: fc
        .tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 2 }))
        .map(([subnet, label]) => `subnet/${subnet} label/l=${label}`),
      silent: fc.integer({ min: 0, max: 9 }),
      alive: fc.integer({ min: 0, max: 9 }),
      held: fc.option(fc.constantFrom('i', 'j'), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(sort, { maxLength: 10 }), (sorts) => {
        const present = sorts.map(({ held, ...rest }) => (held === undefined ? rest : { ...rest, held }));
        const { groups, aliveOf } = lossOf(present);
        const open = [
          { id: 'i', factor: 'subnet/0' },
          { id: 'j', factor: 'label/l=1' },
        ];
        const { opened, widened } = reviseIncidents(open, groups, aliveOf);
        const used = widened.flatMap(({ incidentIds }) => incidentIds);
        expect(new Set(used).size).to.equal(used.length);
        for (const { factor } of opened) expect(open.map((one) => one.factor)).not.to.include(factor);
        const fresh = groups.reduce((sum, group) => sum + (group.incidentId === null ? group.silent : 0), 0);
        expect(
          3 * (opened.length + widened.filter(({ incidentIds }) => incidentIds.length === 1).length),
        ).to.be.at.most(fresh);
      }),
    );
  });
});
