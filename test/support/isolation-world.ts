import { DirectionWorld } from './direction-world.js';
import { runAgentCli } from './agent-cli.js';
import { NetworkWorld, namespacesMissing, type Namespace } from './namespaces.js';
import { eventually } from './poll.js';
import { skipFor } from './skip.js';

export const MANAGER = '10.77.9.254';
export const OTHER_MANAGER = '10.77.9.253';
export const AGENT = '10.77.9.1';
export const PEER = '10.77.1.2';
const ENDED = ['succeeded', 'failed', 'expired', 'cancelled'];
export const SSH = { action: 'deny', direction: 'incoming', protocol: 'TCP', destination: { ports: [22] } };

export interface Shown {
  readonly id: string;
  readonly state: string;
  readonly reason: string | null;
  readonly detail: string | null;
}

export interface FirewallShown {
  readonly state: string;
  readonly detail: string | null;
  readonly rules: readonly { readonly action: string; readonly hidden: boolean; readonly order: number }[];
  readonly isolated: { readonly since: string; readonly commandId: string; readonly by: string | null } | null;
}

/** A manager, a computer and somebody else, with network namespaces of their own between them. */
export interface IsolationWorld {
  readonly network: NetworkWorld;
  readonly host: Namespace;
  readonly peer: Namespace;
  readonly world: DirectionWorld;
}

/** Sets it up before the tests of a suite and takes it away behind them; skips them where namespaces cannot be made. */
export function useIsolationWorld() {
  let network: NetworkWorld;
  let host: Namespace;
  let peer: Namespace;
  let world: DirectionWorld;

  before(async function () {
    const missing = namespacesMissing();
    if (missing !== undefined) skipFor(this, missing);
    network = new NetworkWorld();
    [host, peer] = [network.space('host'), network.space('peer')];
    network.link(
      { space: host, device: 'e0', mac: '02:77:00:00:01:01', addresses: ['10.77.1.1/24'] },
      { space: peer, device: 'e0', mac: '02:77:00:00:01:02', addresses: [`${PEER}/24`] },
    );
    network.link(
      { space: host, device: 'm0', mac: '02:77:00:00:09:01', addresses: [`${AGENT}/24`] },
      {
        space: undefined,
        device: `wbm${process.pid % 100_000}`,
        mac: '02:77:00:00:09:02',
        addresses: [`${MANAGER}/24`, `${OTHER_MANAGER}/24`],
      },
    );
    await host.ask({ op: 'listen', port: 22 });
    await host.ask({ op: 'listen', port: 80 });
    await peer.ask({ op: 'listen', port: 443 });
    await peer.ask({ op: 'listen', port: 8443 });
    world = await DirectionWorld.start({ WARDBEAT_PUBLIC_HOSTS: MANAGER });
  });
  after(async () => {
    try {
      await world?.end();
    } finally {
      network?.remove();
    }
  });

  const inward = (port = 22) => peer.ask({ op: 'connect', host: '10.77.1.1', port });
  const outward = (port = 443) => host.ask({ op: 'connect', host: PEER, port });
  const firewall = (id: string) => world.manager.api.get<FirewallShown>(`/computers/${id}/firewall`);
  const flags = async (id: string) => (await world.manager.api.get<{ flags: string[] }>(`/computers/${id}`)).flags;
  const isFlagged = (id: string, on: boolean) =>
    eventually(`the flag is ${on}`, async () => (await flags(id)).includes('isolated') === on);
  const order = async (id: string, body: object): Promise<Shown> => {
    const queued = await world.manager.api.post<Shown>(`/computers/${id}/commands`, body);
    return eventually('the command ends', async () => {
      const shown = await world.manager.api.get<Shown>(`/commands/${queued.id}`);
      return ENDED.includes(shown.state) ? shown : undefined;
    });
  };
  const applied = (id: string) =>
    eventually('the rules are in force', async () => (await firewall(id)).state === 'applied');
  const kindsOf = async (id: string) =>
    (await world.manager.api.get<{ items: { kind: string }[] }>(`/computers/${id}/events?limit=200`)).items.map(
      ({ kind }) => kind,
    );
  const release = (name: string, code: string) =>
    runAgentCli(['release', '--dir', world.directoryOf(name), '--code', code]);

  const parts = (): IsolationWorld => ({ network, host, peer, world });
  return { parts, inward, outward, firewall, flags, isFlagged, order, applied, kindsOf, release };
}
