import { open } from 'node:fs/promises';

import { createBreather, type Breather } from '../../lib/breather.js';
import type { Clock } from '../../lib/clock.js';
import {
  MOST_ITEMS,
  SOCKET_PROTOCOLS,
  type ConnectionItem,
  type ListeningPortItem,
} from '../../protocol/inventory-messages.js';
import type { Collector } from '../collectors/collector.js';
import type { Found } from './packages-collector.js';
import { parseSocketLine, type SocketLine } from './socket-lines.js';
import { SocketOwners } from './socket-owners.js';

export interface FoundSockets {
  readonly listeningPorts: Found<ListeningPortItem>;
  readonly connections: Found<ConnectionItem>;
}

type Protocol = (typeof SOCKET_PROTOCOLS)[number];
type SocketKind = keyof FoundSockets;

interface Kept {
  readonly protocol: Protocol;
  readonly line: SocketLine;
}

const CHUNK_BYTES = 256 * 1024;
const LISTENS = '0A';
const CONNECTED = '01';
const WITHOUT_PEER = '07';

/** The sockets of this network namespace: what listens, and what is connected. */
export function createSocketsCollector(clock: Pick<Clock, 'monotonic'>, proc = '/proc'): Collector<FoundSockets> {
  const owners = new SocketOwners(proc);
  return {
    name: 'sockets',
    async collect(signal) {
      const breather = createBreather(clock);
      const kept = { listeningPorts: [] as Kept[], connections: [] as Kept[] };
      const totals = { listeningPorts: 0, connections: 0 };
      for (const protocol of SOCKET_PROTOCOLS) {
        for await (const text of linesOf(`${proc}/net/${protocol}`, breather, signal)) {
          const line = parseSocketLine(text);
          const kind = line && kindOf(protocol, line);
          if (!kind) continue;
          totals[kind] += 1;
          if (kept[kind].length < MOST_ITEMS[kind]) kept[kind].push({ protocol, line });
        }
      }
      const inodes = [...kept.listeningPorts, ...kept.connections].map(({ line }) => line.inode);
      const found = await owners.find(new Set(inodes.filter((inode) => inode !== '0')), signal);
      const ownerOf = ({ line: { uid, inode } }: Kept) => {
        const process = found.get(inode);
        return { uid, ...(process ? { process } : {}) };
      };
      return {
        listeningPorts: {
          total: totals.listeningPorts,
          items: kept.listeningPorts.map((one) => ({ ...toPort(one), ...ownerOf(one) })),
        },
        connections: withoutOwn(
          totals.connections,
          kept.connections.map((one) => ({ ...toConnection(one), ...ownerOf(one) })),
        ),
      };
    },
  };
}

/** Without the agent's own, which the manager knows of: else each computer would have a change to tell at every look. */
function withoutOwn(total: number, all: readonly ConnectionItem[]): Found<ConnectionItem> {
  const items = all.filter((item) => item.process?.pid !== process.pid);
  return { items, total: total - (all.length - items.length) };
}

function kindOf(protocol: Protocol, { state, localPort, remotePort }: SocketLine): SocketKind | undefined {
  if (state === CONNECTED) return remotePort === 0 ? undefined : 'connections';
  const listens = protocol.startsWith('tcp') ? LISTENS : WITHOUT_PEER;
  return state === listens && localPort !== 0 ? 'listeningPorts' : undefined;
}

function toPort({ protocol, line: { localAddress: address, localPort: port } }: Kept): ListeningPortItem {
  return { protocol, address, port };
}

function toConnection({ protocol, line }: Kept): ConnectionItem {
  const { localAddress, localPort, remoteAddress, remotePort } = line;
  return { protocol, localAddress, localPort, remoteAddress, remotePort };
}

/** Piece by piece: a busy machine has megabytes of it. Nothing where there is no such file, as without IPv6. */
async function* linesOf(path: string, breather: Breather, signal: AbortSignal): AsyncGenerator<string> {
  const file = await open(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (!file) return;
  try {
    const chunk = Buffer.alloc(CHUNK_BYTES);
    let rest = '';
    for (;;) {
      const { bytesRead } = await file.read(chunk, 0, CHUNK_BYTES);
      signal.throwIfAborted();
      if (bytesRead === 0) break;
      const lines = (rest + chunk.toString('latin1', 0, bytesRead)).split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
      if (breather.isDue()) await breather.turn();
    }
    yield rest;
  } finally {
    await file.close();
  }
}
