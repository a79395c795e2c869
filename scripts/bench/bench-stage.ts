import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { certificatesOf, writePem } from '../../certs/pem.js';
import { exportKey, readKeyAndCertificate } from '../../certs/key-store.js';
import type { Clock } from '../../lib/clock.js';
import type { CleanupStack } from '../../lib/lifecycle.js';
import { createSystemRandom } from '../../lib/random.js';
import { startBenchChild, type BenchChild } from './bench-child.js';
import { enrollFleet, type BenchFleet } from './bench-enrollment.js';
import type { BenchFlags } from './bench-flags.js';
import { runSlice, type IngestStage } from './ingest-case.js';
import type { BareServerOptions, LoadReply, LoadRequest, Side, SliceOutcome } from './load-messages.js';
import { startManagerChild, type ManagerChild } from './manager-child.js';

/** What a bench of the agent port stands on: a manager with enrolled agents, a load client, and a bare server beside. */
export interface BenchStage extends IngestStage {
  readonly manager: ManagerChild;
}

/** Every agent sends its facts and takes the settings; what comes after is steady. */
const FIRST_MS = 1500;
const HOST = '127.0.0.1';

export interface StageDeps {
  readonly flags: BenchFlags;
  readonly clock: Clock;
  readonly cleanup: CleanupStack;
  readonly say: (line: string) => void;
}

export async function setUpStage({ flags, clock, cleanup, say }: StageDeps): Promise<BenchStage> {
  const { agents, profileDir } = flags;
  if (profileDir !== undefined) mkdirSync(profileDir, { recursive: true });
  const adminPassword = createSystemRandom().bytes(16).toString('hex');
  const manager = await startManagerChild({ clock, adminPassword, profileDir });
  cleanup.push('manager', () => manager.stop());
  const fleet = await enrollFleet(manager, agents);
  say(`${agents} agents are enrolled`);
  const [load, bare] = [startBenchChild('load-client'), startBenchChild('bare-server')];
  cleanup.push('helpers', () => [load, bare].forEach((child) => child.stop()));
  const stage = { clock, load, barePid: bare.pid, managerPid: manager.pid, agents, say, manager };
  await tell(load, { kind: 'prepare', fleet });
  await tell(load, aim('manager', Number(new URL(manager.agentUrl).port)));
  const first = await runSlice(stage, { side: 'manager', carrier: 'kept', width: agents, milliseconds: FIRST_MS });
  const { reportBytes, answerBytes } = first;
  say(`a report has ${reportBytes} bytes, its answer ${answerBytes}`);
  await tell(load, aim('bare', await bare.ask<number>({ ...bareIdentity(manager, fleet), answerBytes })));
  return stage;
}

function aim(side: Side, port: number): LoadRequest {
  return { kind: 'aim', side, target: { host: HOST, port } };
}

/** Has the load client do something; throws where it cannot. */
export async function tell(load: BenchChild, request: LoadRequest): Promise<SliceOutcome | null> {
  const reply = await load.ask<LoadReply>(request);
  if (!reply.ok) throw new Error(`The load client failed: ${reply.error}`);
  return reply.outcome;
}

/** The manager's own key and leaf, and the chain that it sends: the handshakes are the same, byte for byte in size. */
function bareIdentity(
  { dataDir }: ManagerChild,
  { identities, rootPem }: BenchFleet,
): Omit<BareServerOptions, 'answerBytes'> {
  const own = readKeyAndCertificate(join(dataDir, 'keys', 'manager.pem'));
  const [, intermediateDer] = certificatesOf(identities[0]?.certPem ?? '');
  if (!own || !intermediateDer) throw new Error('The manager has no key, or an agent no chain');
  const leafPem = writePem('CERTIFICATE', own.certificateDer);
  const certPem = leafPem + writePem('CERTIFICATE', intermediateDer) + rootPem;
  return { keyPem: exportKey(own.key), certPem, rootPem };
}
