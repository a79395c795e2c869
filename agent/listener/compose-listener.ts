import { readFileSync } from 'node:fs';

import type { AgentOptions } from '../agent-options.js';
import type { Identity } from '../data-directory.js';
import { isAllowedSource, parseArpTable, type Neighbours } from './allowed-sources.js';
import { createListenerCalls, type ListenerCallsDeps } from './listener-calls.js';
import { openListenerServer, type ListenerServer } from './listener-server.js';
import { ListenerSet, type OpenRequest } from './listener-set.js';

export interface ListenerParts {
  readonly options: AgentOptions;
  readonly identity: Identity;
  readonly recognise: ListenerCallsDeps['recognise'];
  readonly exchange: ListenerCallsDeps['exchange'];
  readonly renewal: ListenerCallsDeps['renewal'];
  readonly onChange: () => void;
  /** A manager was recognised that comes from this address. */
  readonly onDialled: (address: string | undefined) => void;
  /** The mark of the firewall's rules in force. */
  readonly firewallMark: () => string | undefined;
}

/** The agent's listening ports, none of them open yet. */
export function createListeners(parts: ListenerParts): ListenerSet {
  const { clock, random } = parts.options;
  return new ListenerSet({ clock, random, onChange: parts.onChange, open: (request) => open(request, parts) });
}

function open({ port, sources }: OpenRequest, { options, identity, ...parts }: ListenerParts): Promise<ListenerServer> {
  const { clock, random, log } = options;
  const allows = (address: string | undefined) => (list: readonly string[]) =>
    isAllowedSource(list, address, readNeighbours);
  const admits = (address: string | undefined): boolean => sources().some(allows(address));
  const calls = createListenerCalls({
    computerId: identity.computerId,
    random,
    log,
    recognise: parts.recognise,
    admits,
    carrierOf(address) {
      parts.onDialled(address);
      return { kind: 'listener', port, admittedBy: allows(address), firewall: parts.firewallMark() };
    },
    exchange: parts.exchange,
    renewal: parts.renewal,
  });
  const timeouts = options.listenerTimeouts;
  return openListenerServer({ identity, port, admits, clock, random, log, timeouts, ...calls });
}

function readNeighbours(): Neighbours {
  try {
    return parseArpTable(readFileSync('/proc/net/arp', 'latin1'));
  } catch {
    return new Map();
  }
}
