import type { Clock } from '../lib/clock.js';
import type { Log } from '../lib/log.js';
import type { Random } from '../lib/random.js';
import { readBy } from '../lib/schema.js';
import type { Orders } from '../protocol/heartbeat-messages.js';
import { AGENT_PATHS, PROTOCOL_VERSION } from '../protocol/protocol-version.js';
import { renewResponseSchema, type Renewed, type RenewalRequest } from '../protocol/renewal-messages.js';
import { CommandFailure } from './commands/executor.js';
import { UnusableCertificate, type CredentialStore } from './credential-store.js';
import { sleepUnlessAborted } from './deadline.js';
import { ASK_AGAIN_MS, isAboutCertificate, lifeOf, refusedPauseMs, renewalDueAt, type Life } from './renewal-rules.js';
import type { Credentials } from './renewal-file.js';
import type { IncomingEvent } from './spool/event-intake.js';
import type { ManagerConnection } from './transport/tls-connection.js';
import { ManagerRefusal, TransportError } from './transport/transport-error.js';

export interface RenewalDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly credentials: CredentialStore;
  /** An instant that the manager vouched for since this boot; undefined without one. */
  readonly managerNow: () => number | undefined;
  readonly spool: { append(lane: 'control', event: IncomingEvent): Promise<unknown> };
  /** A request of its own to the manager, by HTTPS. */
  readonly connect: (milliseconds: number, signal: AbortSignal) => Promise<ManagerConnection>;
  /** Other credentials are to be shown from the next connection on. */
  readonly onChange: () => void;
  /** Begins an exchange. */
  readonly wake: () => void;
}

/** What a command to renew came to. */
export interface Rotated {
  readonly serial: string;
  readonly notAfter: number;
  readonly replaced: string;
}

/** Timers do not count suspend: the clock is looked at so often. */
const LONGEST_SLEEP_MS = 60_000;

interface Rotation {
  readonly replaced: string;
  readonly resolve: (rotated: Rotated) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Renews the agent's certificate around the half of its life: the request rides in reports, the certificate in the orders that
 * answer them, and it is in force once an exchange was had with it.
 */
export class Renewal {
  readonly #deps: RenewalDeps;
  #rotation: Rotation | undefined;
  /** A refusal was told: nothing is asked before this instant of the boot clock. */
  #notBeforeBoot = Number.NEGATIVE_INFINITY;
  #toldRefusal: string | undefined;
  /** Asked for with every report. */
  #read: { readonly of: Credentials; readonly life: Life } | undefined;

  constructor(deps: RenewalDeps) {
    this.#deps = deps;
  }

  /** What exchanges of this moment show. */
  get current(): Credentials {
    return this.#deps.credentials.current;
  }

  /** Of the certificate in use. */
  get life(): Life {
    const { current } = this.#deps.credentials;
    if (this.#read?.of !== current) this.#read = { of: current, life: lifeOf(current.certificatePem) };
    return this.#read.life;
  }

  /** Whether the next report is to ask. */
  get isWanted(): boolean {
    const { credentials, clock } = this.#deps;
    if (credentials.isUnproven) return false;
    return this.#rotation !== undefined || (clock.boot() >= this.#notBeforeBoot && this.#isDue());
  }

  /** What the next report asks for. A disk that fails costs the renewal, never the report. */
  async request(): Promise<RenewalRequest | undefined> {
    if (!this.isWanted) return undefined;
    try {
      return { csr: await this.#deps.credentials.request() };
    } catch (error) {
      const { log } = this.#deps;
      this.#pause();
      this.#rotation?.reject(new CommandFailure('failed', 'The key of a new certificate cannot be stored.'));
      log.warn({ err: error }, 'The key of a new certificate cannot be stored');
      return undefined;
    }
  }

  /** Orders came by an exchange that showed `used`. */
  async answered({ renewed, renewalRefused }: Orders, used: Credentials): Promise<void> {
    this.#prove(used);
    if (renewed) await this.take(renewed);
    if (renewalRefused) await this.#refused(renewalRefused);
  }

  /** Uses what was issued from the next connection on. */
  async take({ certificate, chain }: Renewed): Promise<void> {
    const { credentials, log, onChange, wake } = this.#deps;
    try {
      if (!credentials.adopt([certificate, ...chain])) return;
    } catch (error) {
      if (error instanceof UnusableCertificate)
        return this.#refused({ code: 'certificate-unusable', detail: error.message });
      return log.warn({ err: error }, 'A new certificate cannot be stored');
    }
    this.#toldRefusal = undefined;
    log.info({ serial: this.life.serial }, 'A new certificate is used from now on');
    onChange();
    wake();
  }

  /**
   * An exchange that showed `used` failed. Answers whether another certificate is shown next, so that it is worth trying
   * again at once: what has expired was renewed, or the one before is still there.
   */
  async failed(error: unknown, used: Credentials, signal: AbortSignal): Promise<boolean> {
    const { credentials, onChange } = this.#deps;
    if (!isFailure(error) || used !== credentials.current) return false;
    if (this.#hasExpired(error) && (await this.#renewExpired(signal))) return true;
    if (!isAboutCertificate(error.code) || !credentials.swap()) return false;
    onChange();
    return true;
  }

  /** For a manager that dials: a request for the key in use. */
  requestAgain(): RenewalRequest {
    return { csr: this.#deps.credentials.requestAgain() };
  }

  /** Asks now; resolves once another certificate is in force. Rejects with the signal, or with a `CommandFailure`. */
  rotate(signal: AbortSignal): Promise<Rotated> {
    const { wake } = this.#deps;
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#rotation = undefined;
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', abort, { once: true });
      const end =
        <T>(finish: (value: T) => void) =>
        (value: T): void => {
          signal.removeEventListener('abort', abort);
          this.#rotation = undefined;
          finish(value);
        };
      this.#rotation = { replaced: this.life.serial, resolve: end(resolve), reject: end(reject) };
      wake();
    });
  }

  /** Has an exchange begin when it is time: the next heartbeat may be a day away. */
  async watch(signal: AbortSignal): Promise<void> {
    const { clock, random, wake } = this.#deps;
    let askedBoot = Number.NEGATIVE_INFINITY;
    while (!signal.aborted) {
      await sleepUnlessAborted(clock, LONGEST_SLEEP_MS * (0.5 + random.fraction() / 2), signal);
      const boot = clock.boot();
      if (signal.aborted || !this.isWanted || boot - askedBoot < ASK_AGAIN_MS) continue;
      askedBoot = boot;
      wake();
    }
  }

  #isDue(): boolean {
    // Without the manager's word a clock that is wrong would renew for nothing: the first exchange brings it.
    const now = this.#deps.managerNow();
    return now !== undefined && now >= renewalDueAt(this.life);
  }

  #prove(used: Credentials): void {
    const { credentials, log } = this.#deps;
    try {
      if (!credentials.proven(used)) return;
    } catch (error) {
      return log.warn({ err: error }, 'The new certificate cannot take the place of the one before yet');
    }
    const { serial, notAfter } = this.life;
    log.info({ serial }, 'The certificate was renewed');
    const rotation = this.#rotation;
    if (rotation && rotation.replaced !== serial) rotation.resolve({ serial, notAfter, replaced: rotation.replaced });
  }

  #pause(): void {
    const { clock, managerNow } = this.#deps;
    this.#notBeforeBoot = clock.boot() + refusedPauseMs(this.life, managerNow());
  }

  async #refused({ code, detail }: { readonly code: string; readonly detail: string }): Promise<void> {
    const { credentials, log, spool } = this.#deps;
    this.#pause();
    this.#rotation?.reject(new CommandFailure('refused', `${code}: ${detail}`));
    log.warn({ code, detail }, 'The certificate is not renewed');
    try {
      if (code !== 'unavailable') credentials.forgetKey();
      if (this.#toldRefusal !== code) await spool.append('control', refusalEvent(code, detail));
      this.#toldRefusal = code;
    } catch (error) {
      log.warn({ err: error }, 'That a renewal was refused cannot be stored');
    }
  }

  #hasExpired(error: ManagerRefusal | TransportError): boolean {
    const expiredAt = error instanceof ManagerRefusal ? error.facts.expiredAt : undefined;
    return expiredAt !== undefined && expiredAt > this.life.notAfter;
  }

  /** With the same key, on a way that is for nothing else. Throws the manager's refusal: it says what is to be done. */
  async #renewExpired(signal: AbortSignal): Promise<boolean> {
    const { connect, credentials, log } = this.#deps;
    log.warn('The certificate has expired: it is renewed with its own key');
    const connection = await connect(LATE_LIMIT_MS, signal);
    try {
      const request = { protocolVersion: PROTOCOL_VERSION, csr: credentials.requestAgain() };
      const answer = await connection.post(AGENT_PATHS.renew, JSON.stringify(request), signal);
      const before = credentials.current;
      await this.take(readBy(renewResponseSchema, answer));
      return credentials.current !== before;
    } finally {
      connection.close();
    }
  }
}

const LATE_LIMIT_MS = 5000;

function isFailure(error: unknown): error is ManagerRefusal | TransportError {
  return error instanceof ManagerRefusal || error instanceof TransportError;
}

function refusalEvent(code: string, detail: string): IncomingEvent {
  return {
    kind: 'certificate-renewal-refused',
    severity: 'medium',
    message: 'The manager does not renew the certificate',
    data: { code, detail },
  };
}
