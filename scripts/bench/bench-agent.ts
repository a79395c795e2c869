import { createHash } from 'node:crypto';
import type { Clock } from '../../lib/clock.js';
import type { Random } from '../../lib/random.js';
import type { Orders, Report } from '../../protocol/heartbeat-messages.js';
import { PROTOCOL_VERSION } from '../../protocol/protocol-version.js';

/** The sending half of an agent: reports as `agent/report-builder.ts` makes them, and what it remembers of the answers. */
export interface BenchAgent {
  /** A new report, as JSON text. It counts as sent now. */
  nextReport(): string;
  /** Follows the orders that answered the last report; throws where they are not those of an accepted report. */
  follow(answer: string): void;
  /** Whether settings were taken with the last answer that the manager does not know of yet. */
  readonly hasNews: boolean;
  /** That of the settings in force. */
  readonly intervalSeconds: number;
}

export interface BenchAgentDeps {
  readonly clock: Pick<Clock, 'wall' | 'boot'>;
  readonly random: Random;
  readonly bootId: string;
  readonly computerId: string;
  readonly index: number;
}

export function createBenchAgent({ clock, random, bootId, computerId, index }: BenchAgentDeps): BenchAgent {
  const facts = factsOf(index);
  const factsDigest = createHash('sha256').update(JSON.stringify(facts)).digest('hex');
  const constant = {
    protocolVersion: PROTOCOL_VERSION,
    computerId,
    bootId,
    instanceId: random.uuid(),
    agentVersion: '0.1.0',
    platform: 'linux-x64',
    capabilities: ['clockChangeEvents'],
    factsDigest,
    components: COMPONENTS,
  };
  const memory: Memory = {
    sequence: 0,
    sentAt: 0,
    reportId: '',
    wantsFacts: true,
    intervalSeconds: 60,
    hasNews: false,
  };
  return {
    nextReport() {
      memory.sequence += 1;
      memory.sentAt = clock.wall();
      memory.reportId = random.uuid();
      const { sequence, reportId, sentAt, wantsFacts } = memory;
      const report: Report = {
        ...constant,
        ...memory.carried,
        reportId,
        sequence,
        agentTime: sentAt,
        uptimeMs: Math.round(clock.boot()),
        ...(wantsFacts ? { facts } : {}),
        counters: countersOf(sequence),
        intervalSeconds: memory.intervalSeconds,
        lanes: [],
      };
      return JSON.stringify(report);
    },
    follow: (answer) => follow(memory, JSON.parse(answer) as Orders, clock.wall()),
    get hasNews() {
      return memory.hasNews;
    },
    get intervalSeconds() {
      return memory.intervalSeconds;
    },
  };
}

interface Memory {
  sequence: number;
  sentAt: number;
  reportId: string;
  wantsFacts: boolean;
  intervalSeconds: number;
  hasNews: boolean;
  carried?: Pick<Report, 'identityToken' | 'previousExchange' | 'appliedFingerprint' | 'settingsGeneration'>;
}

function follow(memory: Memory, orders: Orders, receivedAt: number): void {
  const { sequence, sentAt, carried } = memory;
  if (orders.reportId !== memory.reportId || orders.effect !== 'accepted')
    throw new Error(`The orders answer ${orders.effect} instead of accepted, or another report`);
  const { settings } = orders;
  const appliedFingerprint = settings?.fingerprint ?? carried?.appliedFingerprint;
  memory.wantsFacts = orders.fullReport;
  memory.hasNews = settings !== null || orders.fullReport;
  if (settings) memory.intervalSeconds = intervalOf(settings.json);
  memory.carried = {
    identityToken: orders.identityToken,
    previousExchange: { sequence, sentAt, receivedAt },
    settingsGeneration: orders.settingsGeneration,
    ...(appliedFingerprint === undefined ? {} : { appliedFingerprint }),
  };
}

function intervalOf(settings: string): number {
  return (JSON.parse(settings) as { heartbeatIntervalSeconds: number }).heartbeatIntervalSeconds;
}

const DEVICES = ['vda', 'vda1', 'vda14', 'vda15', 'vdb'];
const INTERFACES = ['lo', 'eth0', 'eth1', 'docker0'];

const COMPONENTS: Report['components'] = [
  { name: 'spool', kind: 'agentPart', state: 'online' },
  { name: 'collectors', kind: 'agentPart', state: 'online' },
  { name: 'transport', kind: 'agentPart', state: 'online' },
  { name: 'listener', kind: 'agentPart', state: 'unknown', detail: 'not part of this version' },
  { name: 'sshd', kind: 'process', state: 'online' },
  { name: 'nginx', kind: 'process', state: 'online' },
  { name: 'auditd', kind: 'process', state: 'online' },
];

function factsOf(index: number) {
  return {
    hostname: `bench-${index}`,
    operatingSystem: { id: 'debian', version: '12', name: 'Debian GNU/Linux 12 (bookworm)' },
    kernel: { release: '6.1.0-28-amd64', version: '#1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1' },
    architecture: 'x64',
    cpu: { model: 'AMD EPYC 7763 64-Core Processor', count: 4 },
    memoryBytes: 16_777_216_000,
    interfaces: [{ name: 'eth0', mac: '02:42:ac:11:00:02', addresses: ['192.0.2.10/24', '2001:db8::10/64'] }],
    machineIdDigest: createHash('sha256').update(`bench-${index}`).digest('hex'),
    agentVersion: '0.1.0',
    nodeVersion: 'v20.20.2',
    timeZone: 'UTC',
  };
}

/** What the agent's collectors tell of a small server: CPU, memory, block devices and network interfaces. */
function countersOf(sequence: number) {
  const moved = sequence * 4096;
  return {
    cpu: {
      userMs: 8_123_400 + sequence,
      systemMs: 2_339_100 + sequence,
      idleMs: 982_341_100 + moved,
      ioWaitMs: 82_100,
      stealMs: 310,
      load: [0.42, 0.37, 0.31],
    },
    memory: {
      totalBytes: 16_777_216_000,
      availableBytes: 9_223_372_800 - moved,
      swapTotalBytes: 2_147_483_648,
      swapFreeBytes: 2_147_483_648,
    },
    disk: {
      totalBytes: 107_374_182_400,
      freeBytes: 64_424_509_440 - moved,
      devices: DEVICES.map((name) => ({
        name,
        reads: 182_934,
        readBytes: 7_340_032_000,
        writes: 991_234 + sequence,
        writtenBytes: 21_474_836_480 + moved,
      })),
    },
    network: INTERFACES.map((name) => ({
      name,
      receivedBytes: 91_268_055_040 + moved,
      receivedPackets: 81_234_566 + sequence,
      receiveErrors: 0,
      sentBytes: 45_634_027_520 + moved,
      sentPackets: 61_234_566 + sequence,
      sendErrors: 0,
    })),
    agent: { residentBytes: 71_303_168, userMs: 81_233.112 + sequence, systemMs: 20_112.991 },
  };
}
