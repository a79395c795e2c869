import { readdir, readFile, statfs } from 'node:fs/promises';
import { loadavg, uptime } from 'node:os';

import type { JsonValue } from '../../lib/canonical-json.js';
import type { Collector } from './collector.js';
import {
  cpuUsedPercent,
  parseCpuTimes,
  parseDiskstats,
  parseMeminfo,
  parseMounts,
  parseNetDev,
  type CpuTimes,
} from './proc-format.js';

/** CPU, memory, disk and network of the machine; amounts in bytes, times in milliseconds since boot. */
export function createCountersCollector(folder: string): Collector<JsonValue> {
  let before: CpuTimes | undefined;
  const cpuCounters = (stat: string): JsonValue => {
    const times = parseCpuTimes(stat);
    const used = before && cpuUsedPercent(before, times);
    before = times;
    return { ...times, load: loadavg(), ...(used === undefined ? {} : { usedPercent: used }) };
  };
  return {
    name: 'counters',
    async collect(signal) {
      const read = (path: string): Promise<string> => readFile(path, { encoding: 'utf8', signal });
      const [stat, meminfo, net, disks, space, entries, mounts] = await Promise.all([
        read('/proc/stat'),
        read('/proc/meminfo'),
        read('/proc/net/dev'),
        read('/proc/diskstats').catch(() => ''),
        statfs(folder),
        readdir('/proc'),
        read('/proc/self/mounts').catch(() => ''),
      ]);
      return {
        uptimeSeconds: Math.round(uptime()),
        processes: entries.filter((name) => /^\d+$/.test(name)).length,
        cpu: cpuCounters(stat),
        memory: memoryCounters(parseMeminfo(meminfo)),
        disk: {
          totalBytes: space.blocks * space.bsize,
          freeBytes: space.bavail * space.bsize,
          mounts: await mountCounters(mounts, signal),
          devices: parseDiskstats(disks).map((device) => ({ ...device })),
        },
        network: parseNetDev(net).map((counters) => ({ ...counters })),
      };
    },
  };
}

/** One after the other: a disk that hangs takes one thread, and none of the others is asked. */
async function mountCounters(text: string, signal: AbortSignal): Promise<JsonValue> {
  const counters: JsonValue[] = [];
  for (const { device, path, type } of parseMounts(text)) {
    signal.throwIfAborted();
    const space = await statfs(path).catch(() => undefined);
    if (!space) continue;
    const totalBytes = space.blocks * space.bsize;
    counters.push({ path, device, type, totalBytes, freeBytes: space.bavail * space.bsize });
  }
  return counters;
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
