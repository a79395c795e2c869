import { readFile, statfs } from 'node:fs/promises';
import { loadavg } from 'node:os';

import type { JsonValue } from '../../lib/canonical-json.js';
import type { Collector } from './collector.js';
import { parseCpuTimes, parseDiskstats, parseMeminfo, parseNetDev } from './proc-format.js';

/** CPU, memory, disk and network of the machine; amounts in bytes, times in milliseconds since boot. */
export function createCountersCollector(folder: string): Collector<JsonValue> {
  return {
    name: 'counters',
    async collect(signal) {
      const read = (path: string): Promise<string> => readFile(path, { encoding: 'utf8', signal });
      const [stat, meminfo, net, disks, space] = await Promise.all([
        read('/proc/stat'),
        read('/proc/meminfo'),
        read('/proc/net/dev'),
        read('/proc/diskstats').catch(() => ''),
        statfs(folder),
      ]);
      return {
        cpu: { ...parseCpuTimes(stat), load: loadavg() },
        memory: memoryCounters(parseMeminfo(meminfo)),
        disk: {
          totalBytes: space.blocks * space.bsize,
          freeBytes: space.bavail * space.bsize,
          devices: parseDiskstats(disks).map((device) => ({ ...device })),
        },
        network: parseNetDev(net).map((counters) => ({ ...counters })),
      };
    },
  };
}

function memoryCounters(meminfo: ReadonlyMap<string, number>): JsonValue {
  return {
    totalBytes: meminfo.get('MemTotal') ?? 0,
    availableBytes: meminfo.get('MemAvailable') ?? 0,
    swapTotalBytes: meminfo.get('SwapTotal') ?? 0,
    swapFreeBytes: meminfo.get('SwapFree') ?? 0,
  };
}

/** What this process itself uses. */
export function ownCounters(): JsonValue {
  const { user, system } = process.cpuUsage();
  return { residentBytes: process.memoryUsage.rss(), userMs: user / 1000, systemMs: system / 1000 };
}
