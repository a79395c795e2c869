import type { VerdictFacts } from '../../../policies/verdict-rules.js';
import { goodbye, killed, NEVER, S, stopped, tested } from './verdict-table.js';

const dialled = (...failed: readonly (readonly [number, number])[]): Pick<VerdictFacts, 'dials'> => ({
  dials: { failed: failed.map(([begun, ended]) => ({ begunAt: begun * S, endedAt: ended * S })), reason: null },
});

describe('judging a computer that only the manager dials', () => {
  tested([
    {
      name: 'is never late without a dial, and shows when it could be offline',
      at: 9000,
      facts: dialled(),
      is: {
        status: 'online',
        since: 0,
        missed: 0,
        offlineAt: 185,
        raised: null,
        nextChangeAt: NEVER,
        dialNeededFrom: 65,
      },
    },
    {
      name: 'is not late by a dial begun before its contact was due, though it failed after',
      at: 9000,
      facts: dialled([51.999, 62]),
      is: { status: 'online', missed: 0, dialNeededFrom: 65 },
    },
    {
      name: 'is late at the deadline where the dial failed before it',
      at: 65,
      facts: dialled([52, 53]),
      is: { status: 'late', since: 65, missed: 1, reason: 'heartbeat-missed', offlineAt: 185, dialNeededFrom: 185 },
    },
    {
      name: 'is late at the end of the dial where it failed after the deadline',
      at: 71,
      facts: dialled([61, 71]),
      is: { status: 'late', since: 71, missed: 1, dialNeededFrom: 185 },
    },
    {
      name: 'is online until then',
      at: 70.999,
      facts: dialled([61, 71]),
      is: { status: 'online', nextChangeAt: 71, missed: 0 },
    },
    {
      name: 'stays late while no dial was begun at the third due time',
      at: 9000,
      facts: dialled([52, 53], [112, 113], [171.999, 180]),
      is: { status: 'late', since: 65, missed: 2, offlineAt: 185, raised: null, dialNeededFrom: 185 },
    },
    {
      name: 'is offline at the deadline where the dial failed before it',
      at: 185,
      facts: dialled([52, 53], [172, 173]),
      is: { status: 'offline', since: 185, missed: 3, offlineAt: 185, raised: 185, dialNeededFrom: NEVER },
    },
    {
      name: 'is offline at the end of the first dial begun at the third due time',
      at: 500,
      facts: dialled([52, 53], [300, 310], [360, 361]),
      is: { status: 'offline', since: 310, offlineAt: 310, raised: 310, because: 'unknown' },
    },
    {
      name: 'is late and offline by one dial where it is the only one',
      at: 310,
      facts: dialled([300, 310]),
      is: { status: 'offline', since: 310, raised: 310, missed: 5 },
    },
    {
      name: 'counts due times in listening time',
      at: 9000,
      spans: killed,
      facts: dialled([60, 62], [441, 450], [501.999, 512]),
      is: { status: 'late', since: 65, missed: 2, offlineAt: 515, dialNeededFrom: 515 },
    },
    {
      name: 'is offline by a dial begun when its due time has come in listening time',
      at: 9000,
      spans: killed,
      facts: dialled([60, 62], [502, 520]),
      is: { status: 'offline', since: 520, raised: 520 },
    },
    {
      name: 'learns nothing from a dial during which the manager was deaf',
      at: 9000,
      spans: killed,
      facts: dialled([69, 71], [100, 110], [399, 401]),
      is: { status: 'online', missed: 0, dialNeededFrom: 65 },
    },
    {
      name: 'says why the dials fail',
      at: 185,
      facts: { dials: { ...dialled([52, 53], [172, 173]).dials!, reason: 'refused' } },
      is: { status: 'offline', reason: 'refused', because: 'refused' },
    },
    {
      name: 'says so of a late one',
      at: 65,
      facts: { dials: { ...dialled([52, 53]).dials!, reason: 'timeout' } },
      is: { status: 'late', reason: 'timeout' },
    },
    {
      name: 'believes a goodbye rather than the dials',
      at: 185,
      facts: { ...goodbye('shutdown'), dials: { ...dialled([52, 53], [172, 173]).dials!, reason: 'refused' } },
      is: { status: 'offline', reason: 'goodbye-shutdown', because: 'goodbye-shutdown' },
    },
    {
      name: 'is stopped where the power state says so, whatever the dials say',
      at: 185,
      facts: { ...stopped(10), dials: { ...dialled([52, 53], [172, 173]).dials!, reason: 'refused' } },
      rules: { offlineAlertForStoppedVm: true },
      is: { status: 'stopped', raised: 185, because: 'power-stopped' },
    },
    {
      name: 'waits for no dial while it is stopped and nothing is to be raised',
      at: 185,
      facts: { ...stopped(10), ...dialled() },
      is: { status: 'stopped', dialNeededFrom: NEVER },
    },
    {
      name: 'needs no dial to be uninstalled',
      at: 10,
      facts: { ...goodbye('uninstall'), ...dialled() },
      is: { status: 'offline', raised: 0, dialNeededFrom: NEVER },
    },
    {
      name: 'extends an announced restart, and needs its dial all the same',
      at: 9000,
      facts: { ...goodbye('restart', 200), ...dialled([52, 53]) },
      is: { status: 'late', offlineAt: 200, raised: null, dialNeededFrom: 200 },
    },
    {
      name: 'is late by a dial where absence is unlimited, and needs no other',
      at: 9000,
      facts: dialled([100, 101]),
      rules: { missedAllowed: 'unlimited' },
      is: { status: 'late', since: 101, reason: 'absence-allowed', offlineAt: null, dialNeededFrom: NEVER },
    },
  ]);
});
