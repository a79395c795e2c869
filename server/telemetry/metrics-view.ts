import { isPlainObject } from '../../lib/schema.js';
import {
  LONGEST_NAME,
  LONGEST_PATH,
  type AmountDto,
  type InterfaceTrafficDto,
  type MetricsDto,
  type MountDto,
} from './telemetry-dto.js';

const MAX_LISTED = 64;

type Members = Readonly<Record<string, unknown>>;

/** What the counters of a report say, whatever they leave out: they are an agent's word. */
export function toMetrics(counters: unknown, receivedAt: string | null): MetricsDto {
  const host = membersOf(membersOf(counters)['host']);
  const [cpu, memory, disk] = [membersOf(host['cpu']), membersOf(host['memory']), membersOf(host['disk'])];
  return {
    receivedAt,
    uptimeSeconds: amountOf(host['uptimeSeconds']),
    processes: amountOf(host['processes']),
    load: listOf(cpu['load']).flatMap((value) => numberOf(value) ?? []),
    cpuUsedPercent: numberOf(cpu['usedPercent']),
    memory: toAmount(memory, ['totalBytes', 'availableBytes']),
    swap: toAmount(memory, ['swapTotalBytes', 'swapFreeBytes']),
    mounts: listOf(disk['mounts']).map(toMount),
    network: listOf(host['network']).map(toTraffic),
  };
}

function toAmount(members: Members, [total, available]: readonly [string, string]): AmountDto {
  return { totalBytes: amountOf(members[total]), availableBytes: amountOf(members[available]) };
}

function toMount(value: unknown): MountDto {
  const { path, device, type, totalBytes, freeBytes } = membersOf(value);
  return {
    path: textOf(path, LONGEST_PATH),
    device: textOf(device, LONGEST_PATH),
    type: textOf(type, LONGEST_NAME),
    totalBytes: amountOf(totalBytes),
    freeBytes: amountOf(freeBytes),
  };
}

function toTraffic(value: unknown): InterfaceTrafficDto {
  const { name, receivedBytes, sentBytes } = membersOf(value);
  return { name: textOf(name, LONGEST_NAME), receivedBytes: amountOf(receivedBytes), sentBytes: amountOf(sentBytes) };
}

function membersOf(value: unknown): Members {
  return isPlainObject(value) ? value : {};
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value.slice(0, MAX_LISTED) : [];
}

function textOf(value: unknown, longest: number): string {
  return typeof value === 'string' ? value.slice(0, longest).toWellFormed() : '';
}

function numberOf(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

function amountOf(value: unknown): number | null {
  const number = numberOf(value);
  return number !== null && number >= 0 && number <= Number.MAX_SAFE_INTEGER ? Math.round(number) : null;
}
