import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { join } from 'node:path';

import { openAuthority, type CertificateAuthority } from '../../certs/certificate-authority.js';
import { readSigningRequest } from '../../certs/csr.js';
import { openManagerIdentity, type ManagerIdentity } from '../../certs/manager-identity.js';
import { certificatesOf } from '../../certs/pem.js';
import { TLS_OPTIONS } from '../../certs/tls-profile.js';
import { createSystemClock } from '../../lib/clock.js';
import { createSystemRandom } from '../../lib/random.js';
import { WebSocketServer, type WebSocket } from 'ws';
import { readBy } from '../../lib/schema.js';
import {
  CHANNEL_SUBPROTOCOL,
  readAgentMessage,
  writeManagerMessage,
  type ReportMessage,
} from '../../protocol/channel-messages.js';
import { parseBoundedJson } from '../../lib/bounded-json.js';
import { enrollRequestSchema, type EnrollResponse } from '../../protocol/enrollment-messages.js';
import { formatEnrollmentToken } from '../../protocol/enrollment-token.js';
import { reportSchema, type AgentEvent, type Orders, type Report } from '../../protocol/heartbeat-messages.js';
import { settingsDocument } from '../../policies/fingerprint.js';
import { catalogueDefaults } from '../../policies/settings-catalogue.js';
import type { SettingValues } from '../../policies/setting-values.js';

export const POLICY = { id: '11111111-1111-4111-8111-111111111111', name: 'Base Policy' };
const GENERATION_EPOCH = '22222222-2222-4222-8222-222222222222';

/** How the next request is treated instead of being answered. */
export type Fault =
  | {
      readonly kind: 'problem';
      readonly status: number;
      readonly code: string;
      readonly retryAfter?: number;
      readonly errors?: readonly object[];
    }
  /** Stored, then the connection is cut. */
  | { readonly kind: 'lose-reply' }
  /** Stored; a channel reads and says nothing more. */
  | { readonly kind: 'silence' }
  | { readonly kind: 'orders'; readonly orders: Partial<Orders> };

const NO_UPGRADE_BODY = JSON.stringify({ type: '/problems/unavailable', status: 503, detail: 'no channels here' });
const NO_UPGRADE =
  'HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 3600\r\n' +
  `Connection: close\r\nContent-Length: ${NO_UPGRADE_BODY.length}\r\n\r\n${NO_UPGRADE_BODY}`;
const PAGE = 'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: 4\r\n\r\n<hr>';

/** A manager in miniature for tests of the agent: real TLS, real schemas, everything in memory. */
export class FakeManager {
  readonly reports: { report: Report; body: string; resumed: boolean; dialledBy: 'agent' | 'manager' }[] = [];
  readonly stored = new Map<string, AgentEvent>();
  readonly positions = new Map<string, number>();
  readonly faults: Fault[] = [];
  readonly enrolled = new Map<string, EnrollResponse>();
  dials = 0;
  connections = 0;
  bytesReceived = 0;
  intervalMs = 60_000;
  maxEventsPerReport = 1000;
  ratePerMinute: number | undefined;
  generation = 1;
  settings: SettingValues = catalogueDefaults();
  /** Whether enrollments are answered with the settings. */
  tellsSettings = false;
  /** How upgrades are answered: `none` asks for none within the hour, `page` is a middlebox, `cut` closes the connection, `silence` says nothing. */
  upgrades: 'none' | 'page' | 'cut' | 'silence' | 'channels' = 'none';
  readonly channels = new Set<WebSocket>();
  /** Reports over channels, of all. */
  channelReports = 0;
  readonly #webSockets = new WebSocketServer({ noServer: true, handleProtocols: () => CHANNEL_SUBPROTOCOL });
  /** Whether proven candidates are committed. */
  commits = true;
  readonly secret = 'ab'.repeat(32);
  #server: Server | undefined;
  #port = 0;
  #identity: ManagerIdentity | undefined;
  readonly #seen = new Map<string, string>();

  private constructor(
    readonly authority: CertificateAuthority,
    readonly folder: string,
  ) {}

  static async start(folder: string, authority?: CertificateAuthority): Promise<FakeManager> {
    const own =
      authority ??
      (await openAuthority({
        dir: join(folder, 'authority'),
        trustDomain: 'test.wardbeat',
        clock: createSystemClock(),
        random: createSystemRandom(),
      }));
    const manager = new FakeManager(own, folder);
    await manager.listen();
    return manager;
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  /** Its key and leaf, to dial a listener with. */
  get identity(): ManagerIdentity {
    return this.#identity!;
  }

  get token(): string {
    return formatEnrollmentToken({ secret: this.secret, caFingerprint: this.authority.rootFingerprint });
  }

  setSettings(changes: Partial<SettingValues>): void {
    this.settings = { ...this.settings, ...changes };
    this.generation += 1;
  }

  async listen(): Promise<void> {
    const identity = await openManagerIdentity({
      dir: join(this.folder, 'manager-identity'),
      authority: this.authority,
      node: 'node-1',
      hosts: ['localhost'],
      clock: createSystemClock(),
    });
    this.#identity = identity;
    const server = createServer(
      {
        ...TLS_OPTIONS,
        key: identity.keyPem,
        cert: identity.certPem + identity.chainPem,
        ca: this.authority.rootPem,
        requestCert: true,
        rejectUnauthorized: false,
      },
      (request, response) => void this.#answer(request, response),
    );
    server.on('upgrade', (upgrade, socket, head) => this.#upgrade(upgrade, socket as TLSSocket, head));
    server.on('connection', () => (this.dials += 1));
    server.on('secureConnection', (socket: TLSSocket) => {
      this.connections += 1;
      socket.on('data', (chunk: Buffer) => (this.bytesReceived += chunk.length));
    });
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    for (const channel of this.channels) channel.terminate();
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  }

  #upgrade(request: IncomingMessage, socket: TLSSocket, head: Buffer): void {
    socket.on('error', () => undefined);
    if (this.upgrades === 'cut') return void socket.destroy();
    if (this.upgrades === 'silence') return;
    if (this.upgrades === 'none') return void socket.end(NO_UPGRADE);
    if (this.upgrades === 'page') return void socket.end(PAGE);
    this.#webSockets.handleUpgrade(request, socket, head, (channel) => {
      this.channels.add(channel);
      channel.on('close', () => this.channels.delete(channel));
      channel.on('message', (data: Buffer) => {
        const message = readAgentMessage(data);
        if (message.type === 'done') this.dones += 1;
        if (message.type === 'report') this.#answerOver(channel, message);
      });
    });
  }

  dones = 0;

  #answerOver(channel: WebSocket, { requestId, body }: ReportMessage): void {
    this.channelReports += 1;
    const fault = this.faults.shift();
    if (fault?.kind === 'problem') {
      const problem = { type: `/problems/${fault.code}`, status: fault.status, detail: fault.code };
      return channel.send(writeManagerMessage({ type: 'problem', requestId, problem }));
    }
    const orders = this.take(body, { dialledBy: 'agent' });
    if (fault?.kind === 'lose-reply') return channel.terminate();
    if (fault?.kind === 'silence') return channel.pause();
    channel.send(writeManagerMessage({ type: 'orders', requestId, orders }));
  }

  /** Asks every agent that holds a channel for an exchange. */
  wake(): void {
    for (const channel of this.channels)
      channel.send(writeManagerMessage({ type: 'wake', requestId: createSystemRandom().uuid(), reason: 'settings' }));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const fault = this.faults.shift();
    if (fault?.kind === 'problem') {
      if (fault.retryAfter !== undefined) response.setHeader('retry-after', fault.retryAfter);
      response.writeHead(fault.status, { 'content-type': 'application/problem+json' });
      response.end(
        JSON.stringify({
          type: `/problems/${fault.code}`,
          status: fault.status,
          detail: fault.code,
          errors: fault.errors,
        }),
      );
      return;
    }
    const resumed = (request.socket as TLSSocket).isSessionReused();
    const answer =
      request.url === '/agent/v1/enroll' ? this.#enroll(body) : this.take(body, { resumed, dialledBy: 'agent' });
    if (fault?.kind === 'lose-reply') {
      request.socket.destroy();
      return;
    }
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ ...answer, ...(fault?.kind === 'orders' ? fault.orders : {}) }));
  }

  #enroll(body: Buffer): EnrollResponse {
    const request = readBy(enrollRequestSchema, parseBoundedJson(body));
    const { spkiDer, keyDigest } = readSigningRequest(request.csr);
    const known = this.enrolled.get(keyDigest);
    if (known) return known;
    const computerId = createSystemRandom().uuid();
    const { pem } = this.authority.issueComputer({ computerId, spkiDer, lifetimeDays: 30 });
    const answer = {
      protocolVersion: 1,
      computerId,
      name: request.name,
      policy: POLICY,
      certificate: pem,
      chain: [this.authority.intermediatePem, this.authority.rootPem],
      trustDomain: this.authority.trustDomain,
      managerUrls: [],
      managerTime: Date.now(),
      identityToken: null,
      ...(this.tellsSettings ? { settings: this.#settingsOrder() } : {}),
    };
    this.enrolled.set(keyDigest, answer);
    return answer;
  }

  #settingsOrder() {
    return {
      ...settingsDocument(this.settings),
      generation: { epoch: GENERATION_EPOCH, counter: this.generation },
    };
  }

  /** What is sent, and what is proven. */
  #judge({ candidate, appliedFingerprint }: Report, dialledBy: 'agent' | 'manager') {
    const order = this.#settingsOrder();
    const isTried = candidate?.fingerprint === order.fingerprint;
    const neededBy = candidate?.direction === 'managerInitiated' ? 'manager' : 'agent';
    const isProven = isTried && candidate.state === 'proving' && neededBy === dialledBy && this.commits;
    return {
      settings: appliedFingerprint === order.fingerprint || isTried ? null : order,
      committed: isProven ? order.fingerprint : undefined,
      generation: order.generation,
    };
  }

  /** Stores a report and answers its orders, whoever dialled. */
  take(
    body: Buffer,
    { resumed = false, dialledBy }: { readonly resumed?: boolean; readonly dialledBy: 'agent' | 'manager' },
  ): Orders {
    const report = readBy(reportSchema, parseBoundedJson(body));
    this.reports.push({ report, body: body.toString('utf8'), resumed, dialledBy });
    const computerId = report.computerId ?? '';
    const isRepeat = this.#seen.get(computerId) === report.reportId;
    this.#seen.set(computerId, report.reportId);
    const { settings, committed, generation } = this.#judge(report, dialledBy);
    return {
      protocolVersion: 1,
      computerId,
      reportId: report.reportId,
      effect: isRepeat ? 'repeat' : 'accepted',
      managerReceivedAt: Date.now(),
      managerSentAt: Date.now(),
      acknowledged: report.lanes.map((batch) => this.#store(computerId, batch)),
      settings,
      settingsGeneration: generation,
      ...(committed === undefined ? {} : { committed }),
      commands: [],
      nextContactInMs: this.intervalMs,
      identityToken: `token-${this.reports.length}`,
      eventQuota: {
        maxEventsPerReport: this.maxEventsPerReport,
        drain: true,
        ...(this.ratePerMinute === undefined ? {} : { ratePerMinute: this.ratePerMinute }),
      },
      fullReport: false,
    };
  }

  #store(computerId: string, { lane, epoch, events }: Report['lanes'][number]): Orders['acknowledged'][number] {
    const key = `${computerId}/${lane}/${epoch}`;
    for (const event of events) {
      if (event.sequence <= (this.positions.get(key) ?? -1)) continue;
      this.stored.set(`${key}/${event.sequence}`, event);
      this.positions.set(key, event.sequence);
    }
    return { lane, epoch, position: this.positions.get(key) ?? -1 };
  }

  /** Stored events of a lane, in order of arrival. */
  events(lane: string): AgentEvent[] {
    return [...this.stored].filter(([key]) => key.split('/')[1] === lane).map(([, event]) => event);
  }

  get rootDer(): Buffer {
    return certificatesOf(this.authority.rootPem)[0]!;
  }
}
