import type { BenchFleet } from './bench-enrollment.js';
import type { LoadTarget } from './load-connection.js';

/** `manager` answers orders that the agents follow, `bare` answers filling. */
export type Side = 'manager' | 'bare';
/** `new`: a connection with a full handshake for each exchange; `kept`: one for each agent; `ws`: a channel for each. */
export type Carrier = 'new' | 'kept' | 'ws';

/** Parent to load client; each is answered by one `LoadReply`. */
export type LoadRequest =
  | { readonly kind: 'prepare'; readonly fleet: BenchFleet }
  | { readonly kind: 'aim'; readonly side: Side; readonly target: LoadTarget }
  /** Opens a channel for each of the first `count` agents and leaves it to answer wakes; what is open already stays. */
  | { readonly kind: 'hold'; readonly side: Side; readonly count: number }
  /** Answers when each that is held runs on this interval: latencies from the instant, Unix milliseconds. */
  | {
      readonly kind: 'await-interval';
      readonly intervalSeconds: number;
      readonly since: number;
      readonly withinMs: number;
    }
  /**
   * Each of the first `count` agents opens a channel to the manager and reports, all at once; who is refused comes again when it
   * was told to. Latencies until each was answered; whoever was not within the time is an error.
   */
  | { readonly kind: 'return'; readonly count: number; readonly withinMs: number }
  | { readonly kind: 'release'; readonly side: Side }
  | LoadSlice;

/** Exchanges one after another on each of `width` agents at once, until `milliseconds` are over. */
export interface LoadSlice {
  readonly kind: 'run';
  readonly side: Side;
  readonly carrier: Carrier;
  readonly milliseconds: number;
  readonly width: number;
}

export interface SliceOutcome {
  readonly elapsedMs: number;
  /** One per successful exchange; of a new connection from its first packet on. */
  readonly latenciesMs: Float64Array;
  readonly errors: number;
  /** A few messages of errors. */
  readonly samples: readonly string[];
  /** Of the last exchange, bytes. */
  readonly reportBytes: number;
  readonly answerBytes: number;
}

export type LoadReply =
  { readonly ok: true; readonly outcome: SliceOutcome | null } | { readonly ok: false; readonly error: string };

/** Parent to bare server; answered by its port. */
export interface BareServerOptions {
  readonly keyPem: string;
  readonly certPem: string;
  readonly rootPem: string;
  readonly answerBytes: number;
}
