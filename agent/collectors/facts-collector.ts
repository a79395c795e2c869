import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { arch, cpus, hostname, networkInterfaces, release, totalmem, version } from 'node:os';

import type { JsonValue } from '../../lib/canonical-json.js';
import { AGENT_VERSION } from '../agent-version.js';
import type { Collector } from './collector.js';
import { parseOsRelease } from './proc-format.js';

const MAX_INTERFACES = 64;

/** What this machine is; changes seldom. */
export function createFactsCollector(): Collector<JsonValue> {
  return {
    name: 'facts',
    async collect(signal) {
      const osRelease = parseOsRelease(await readOptional('/etc/os-release', signal));
      const processors = cpus();
      return {
        hostname: hostname(),
        operatingSystem: {
          id: osRelease.get('ID') ?? 'linux',
          version: osRelease.get('VERSION_ID') ?? '',
          name: osRelease.get('PRETTY_NAME') ?? 'Linux',
        },
        kernel: { release: release(), version: version() },
        architecture: arch(),
        cpu: { model: processors[0]?.model ?? '', count: processors.length },
        memoryBytes: totalmem(),
        interfaces: interfaceFacts(),
        machineIdDigest: (await readMachineIdDigest(signal)) ?? null,
        agentVersion: AGENT_VERSION,
        nodeVersion: process.version,
        timeZone: new Intl.DateTimeFormat().resolvedOptions().timeZone,
      };
    },
  };
}

function interfaceFacts(): JsonValue {
  return Object.entries(networkInterfaces())
    .slice(0, MAX_INTERFACES)
    .map(([name, addresses = []]) => ({
      name,
      mac: addresses[0]?.mac ?? '',
      addresses: addresses
        .filter(({ internal }) => !internal)
        .map(({ cidr, address }) => cidr ?? address)
        .slice(0, MAX_INTERFACES),
    }))
    .filter(({ addresses }) => addresses.length > 0);
}

/** machine-id(5) says to hash the id with something of the application before it leaves the machine. */
export async function readMachineIdDigest(signal?: AbortSignal): Promise<string | undefined> {
  const id = (await readOptional('/etc/machine-id', signal)).trim();
  return id === '' ? undefined : createHash('sha256').update(`wardbeat:${id}`).digest('hex');
}

async function readOptional(path: string, signal?: AbortSignal): Promise<string> {
  try {
    return await readFile(path, { encoding: 'utf8', ...(signal ? { signal } : {}) });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
