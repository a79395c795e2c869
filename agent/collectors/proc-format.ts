/** Parsers of /proc (proc(5)); pure. */

const USER_HZ = 100;
const SECTOR_BYTES = 512;
const MAX_DEVICES = 32;

export interface CpuTimes {
  readonly userMs: number;
  readonly systemMs: number;
  readonly idleMs: number;
  readonly ioWaitMs: number;
  readonly stealMs: number;
}

/** The first line of /proc/stat; ticks are of 1/100 s. */
export function parseCpuTimes(stat: string): CpuTimes {
  const ticks = stat
    .slice(0, Math.max(0, stat.indexOf('\n')))
    .split(/\s+/)
    .slice(1)
    .map(Number);
  const ms = (index: number): number => ((ticks[index] ?? 0) * 1000) / USER_HZ;
  return { userMs: ms(0) + ms(1), systemMs: ms(2) + ms(5) + ms(6), idleMs: ms(3), ioWaitMs: ms(4), stealMs: ms(7) };
}

/** /proc/meminfo in bytes, by its own names. */
export function parseMeminfo(text: string): ReadonlyMap<string, number> {
  const lines = [...text.matchAll(/^([\w()]+):\s+(\d+)( kB)?$/gm)];
  return new Map(lines.map(([, name = '', amount, unit]) => [name, Number(amount) * (unit ? 1024 : 1)]));
}

export interface InterfaceCounters {
  readonly name: string;
  readonly receivedBytes: number;
  readonly receivedPackets: number;
  readonly receiveErrors: number;
  readonly sentBytes: number;
  readonly sentPackets: number;
  readonly sendErrors: number;
}

/** /proc/net/dev, without the loopback interface. */
export function parseNetDev(text: string): InterfaceCounters[] {
  const rows = text.split('\n').slice(2);
  return rows
    .map((row) => row.trim().split(/[:\s]+/))
    .filter(([name = '', ...fields]) => name !== '' && name !== 'lo' && fields.length >= 16)
    .slice(0, MAX_DEVICES)
    .map(([name = '', ...fields]) => {
      const at = (index: number): number => Number(fields[index] ?? 0);
      return {
        name,
        receivedBytes: at(0),
        receivedPackets: at(1),
        receiveErrors: at(2),
        sentBytes: at(8),
        sentPackets: at(9),
        sendErrors: at(10),
      };
    });
}

export interface DiskCounters {
  readonly name: string;
  readonly reads: number;
  readonly readBytes: number;
  readonly writes: number;
  readonly writtenBytes: number;
}

const VIRTUAL_DISK = /^(loop|ram|zram|sr|fd)\d*/;

/** /proc/diskstats of devices that were ever used, without loop, RAM and optical ones. */
export function parseDiskstats(text: string): DiskCounters[] {
  return text
    .split('\n')
    .map((row) => row.trim().split(/\s+/))
    .filter((fields) => fields.length >= 11 && !VIRTUAL_DISK.test(fields[2] ?? '') && fields[3] !== '0')
    .slice(0, MAX_DEVICES)
    .map((fields) => ({
      name: fields[2] ?? '',
      reads: Number(fields[3]),
      readBytes: Number(fields[5]) * SECTOR_BYTES,
      writes: Number(fields[7]),
      writtenBytes: Number(fields[9]) * SECTOR_BYTES,
    }));
}

/** The share of the time between two readings that the processors worked, in percent; undefined where none passed. */
export function cpuUsedPercent(before: CpuTimes, after: CpuTimes): number | undefined {
  const idle = (times: CpuTimes): number => times.idleMs + times.ioWaitMs;
  const all = (times: CpuTimes): number => times.userMs + times.systemMs + times.stealMs + idle(times);
  const passed = all(after) - all(before);
  if (passed <= 0) return undefined;
  return Math.min(100, Math.max(0, Math.round((1 - (idle(after) - idle(before)) / passed) * 1000) / 10));
}

export interface Mount {
  readonly device: string;
  readonly path: string;
  readonly type: string;
}

/** Of disks of this machine: what lies behind a network may hang whoever asks. */
const LOCAL_TYPES = /^(?:ext[234]|xfs|btrfs|zfs|f2fs|bcachefs|jfs|reiserfs|vfat|exfat|ntfs3?|overlay)$/;
const MAX_MOUNTS = 32;
const LONGEST_PATH = 256;

/** /proc/self/mounts (fstab(5)): one entry for each device, where it is mounted first. */
export function parseMounts(text: string): Mount[] {
  const seen = new Set<string>();
  return text
    .split('\n')
    .map((row) => row.split(' '))
    .filter(([device = '', , type = '']) => {
      const isFirst = LOCAL_TYPES.test(type) && !seen.has(device);
      if (isFirst) seen.add(device);
      return isFirst;
    })
    .slice(0, MAX_MOUNTS)
    .map(([device = '', path = '', type = '']) => ({ device: plain(device), path: plain(path), type }))
    .filter(({ path }) => path.length <= LONGEST_PATH);
}

/** Spaces and the like are written as octal numbers. */
function plain(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_all, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

export interface ProcessLine {
  readonly comm: string;
  readonly state: string;
}

/** /proc/<pid>/stat: the command name stands in the outermost parentheses and may contain any. */
export function parseProcessStat(text: string): ProcessLine | undefined {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  if (open < 0 || close < open) return undefined;
  return { comm: text.slice(open + 1, close), state: text.slice(close + 2, close + 3) };
}

/** KEY=value lines of os-release(5). */
export function parseOsRelease(text: string): ReadonlyMap<string, string> {
  const lines = [...text.matchAll(/^([A-Z0-9_]+)=(["']?)(.*)\2$/gm)];
  return new Map(lines.map(([, key = '', , value = '']) => [key, value]));
}
