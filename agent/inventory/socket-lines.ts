/** Parsers of /proc/net/{tcp,tcp6,udp,udp6} (proc_pid_net(5)); pure. */

export interface SocketLine {
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** As the kernel writes it: `0A` listens, `01` is connected, `07` is closed, or a UDP socket without a peer. */
  readonly state: string;
  readonly uid: number;
  /** 0 where no process has it. */
  readonly inode: string;
}

const LINE =
  /^\s*\d+:\s+([0-9A-F]+):([0-9A-F]{4})\s+([0-9A-F]+):([0-9A-F]{4})\s+([0-9A-F]{2})\s+\S+\s+\S+\s+\S+\s+(\d+)\s+\d+\s+(\d+)/;

/** Undefined for the heading and whatever else is no socket. */
export function parseSocketLine(line: string): SocketLine | undefined {
  const [, local, localPort, remote, remotePort, state, uid, inode] = LINE.exec(line) ?? [];
  if (!local || !localPort || !remote || !remotePort || !state || !uid || !inode) return undefined;
  return {
    localAddress: toAddress(local),
    localPort: Number.parseInt(localPort, 16),
    remoteAddress: toAddress(remote),
    remotePort: Number.parseInt(remotePort, 16),
    state,
    uid: Number(uid),
    inode,
  };
}

/** The kernel writes words of four bytes in the machine's order: little endian wherever Node.js runs. */
function toAddress(hex: string): string {
  const bytes = Buffer.from(hex, 'hex').swap32();
  return bytes.length === 4 ? bytes.join('.') : toIpv6(bytes);
}

const MAPPED = '00000000000000000000ffff';

/** RFC 5952. */
function toIpv6(bytes: Buffer): string {
  if (bytes.toString('hex', 0, 12) === MAPPED) return `::ffff:${bytes.subarray(12).join('.')}`;
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16));
  const { from, length } = longestZeros(groups);
  if (length < 2) return groups.join(':');
  return `${groups.slice(0, from).join(':')}::${groups.slice(from + length).join(':')}`;
}

function longestZeros(groups: readonly string[]): { from: number; length: number } {
  let best = { from: 0, length: 0 };
  for (let from = 0; from < groups.length; from += 1) {
    let length = 0;
    while (groups[from + length] === '0') length += 1;
    if (length > best.length) best = { from, length };
  }
  return best;
}
