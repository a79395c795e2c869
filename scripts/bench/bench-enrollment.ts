import { generateKeyPairSync } from 'node:crypto';
import { Agent, request } from 'node:https';
import { createSigningRequest } from '../../certs/csr.js';
import type { EnrollResponse } from '../../protocol/enrollment-messages.js';
import { AGENT_PATHS, PROTOCOL_VERSION } from '../../protocol/protocol-version.js';
import type { ManagerChild } from './manager-child.js';

/** An enrolled computer's key and certificate; PEM. */
export interface BenchIdentity {
  readonly computerId: string;
  readonly keyPem: string;
  /** The leaf, then the intermediate. */
  readonly certPem: string;
}

export interface BenchFleet {
  readonly identities: readonly BenchIdentity[];
  readonly rootPem: string;
}

const ENROLL_PER_SECOND = 1000;
const ENROLLING_AT_ONCE = 4;
const TOKEN_SECONDS = 3600;

/** Enrolls agents by the API and the agent port, as an operator and as agents do. */
export async function enrollFleet(manager: ManagerChild, count: number): Promise<BenchFleet> {
  const token = await makeToken(manager, count);
  const connections = new Agent({ keepAlive: true, maxSockets: ENROLLING_AT_ONCE });
  const identities: BenchIdentity[] = [];
  let rootPem = '';
  const numbers = Array.from({ length: count }, (_, index) => index);
  const work = async (): Promise<void> => {
    for (let index = numbers.shift(); index !== undefined; index = numbers.shift()) {
      const enrolled = await enrollOne(manager.agentUrl, { token, index, connections });
      identities.push(enrolled.identity);
      rootPem = enrolled.rootPem;
    }
  };
  await Promise.all(Array.from({ length: ENROLLING_AT_ONCE }, work));
  connections.destroy();
  return { identities, rootPem };
}

/** A signed-in administrator of the bench's manager. */
export interface BenchAdmin {
  /** The id of the policy that all agents are attached to. */
  readonly policyId: string;
  call<T>(method: string, path: string, body?: unknown): Promise<T>;
}

export async function signIn({ adminUrl, adminPassword }: ManagerChild): Promise<BenchAdmin> {
  let headers: Record<string, string> = { 'content-type': 'application/json' };
  const ask = async <T>(method: string, path: string, body?: unknown) => {
    const text = body === undefined ? {} : { body: JSON.stringify(body) };
    const response = await fetch(`${adminUrl}/api/v1${path}`, { method, headers, ...text });
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
    return { response, body: (await response.json()) as T };
  };
  const session = await ask<{ csrfToken: string }>('POST', '/sessions', { name: 'admin', password: adminPassword });
  const cookie = session.response.headers.getSetCookie()[0]?.split(';')[0] ?? '';
  headers = { ...headers, cookie, 'x-csrf-token': session.body.csrfToken };
  const policies = await ask<{ items: { id: string }[] }>('GET', '/policies');
  return {
    policyId: policies.body.items[0]?.id ?? '',
    async call<T>(method: string, path: string, body?: unknown) {
      if (method !== 'PATCH') return (await ask<T>(method, path, body)).body;
      const { response } = await ask(`GET`, path);
      const usual = headers;
      headers = { ...usual, 'if-match': response.headers.get('etag') ?? '' };
      try {
        return (await ask<T>(method, path, body)).body;
      } finally {
        headers = usual;
      }
    },
  };
}

async function makeToken(manager: ManagerChild, uses: number): Promise<string> {
  const { policyId, call } = await signIn(manager);
  const wanted = { policyId, uses, expiresInSeconds: TOKEN_SECONDS, ratePerSecond: ENROLL_PER_SECOND };
  return (await call<{ token: string }>('POST', '/enrollment-tokens', wanted)).token;
}

interface Enrolling {
  readonly token: string;
  readonly index: number;
  readonly connections: Agent;
}

async function enrollOne(
  agentUrl: string,
  { token, index, connections }: Enrolling,
): Promise<{ identity: BenchIdentity; rootPem: string }> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const answer = await post(new URL(AGENT_PATHS.enroll, agentUrl), connections, {
    protocolVersion: PROTOCOL_VERSION,
    token,
    csr: createSigningRequest(privateKey),
    name: `bench-${String(index).padStart(5, '0')}`,
    agentVersion: '0.1.0',
    platform: 'linux-x64',
  });
  const [intermediatePem = '', rootPem = ''] = answer.chain;
  const keyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return {
    identity: { computerId: answer.computerId, keyPem, certPem: answer.certificate + intermediatePem },
    rootPem,
  };
}

/** Not authenticated from our side: the manager is our own child on loopback, and its root comes with the answer. */
function post(url: URL, connections: Agent, body: unknown): Promise<EnrollResponse> {
  const text = JSON.stringify(body);
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
  return new Promise((resolve, reject) => {
    const options = { method: 'POST', headers, agent: connections, rejectUnauthorized: false };
    const outgoing = request(url, options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const answer = Buffer.concat(chunks).toString();
        if (response.statusCode === 200) resolve(JSON.parse(answer) as EnrollResponse);
        else reject(new Error(`An enrollment was answered ${response.statusCode ?? 0}: ${answer}`));
      });
    });
    outgoing.on('error', reject);
    outgoing.end(text);
  });
}
