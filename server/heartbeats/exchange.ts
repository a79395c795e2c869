import type { Report } from '../../protocol/heartbeat-messages.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';

/** One report as it arrived: identity from the certificate, receipt by the manager's clock, whoever dialled. */
export interface Exchange {
  readonly identity: { readonly computerId: string; readonly serial: string };
  readonly receivedAt: FleetInstant;
  /** The listening process, as in the ledger. */
  readonly listener: string;
  readonly via: 'direct';
  /** Who opened the connection. */
  readonly dialledBy: 'agent' | 'manager';
  readonly report: Report;
  /** Too much waits to be stored: its changes of the inventory are not, and are sent again. */
  readonly shedsInventory?: boolean;
  /** SHA-256 over the exact bytes of the body. */
  readonly digest: Buffer;
  /** Of the peer, whoever dialled. */
  readonly address: string | null;
  readonly tls: { readonly version: string | null; readonly cipher: string | null };
}
