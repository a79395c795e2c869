import { X509Certificate } from 'node:crypto';
import { connect, type DetailedPeerCertificate } from 'node:tls';
import { sha256Fingerprint, writePem } from '../../certs/pem.js';
import { AGENT_PATHS } from '../../protocol/protocol-version.js';
import { computerOf, enrollBody, type ClientIdentity } from './agent-port.js';
import { newKey } from './forged-certificates.js';
import { call, type CallAnswer, type CallTarget } from './http-call.js';
import { steadyReport } from './ingest-world.js';
import type { ManagerProcess } from './manager-process.js';

type Located = Pick<ManagerProcess, 'agentUrl' | 'caFingerprint'>;

/** The agent port of a running manager, with the root that its chain shows and its fingerprint proves. */
export async function agentTarget({ agentUrl, caFingerprint }: Located): Promise<CallTarget> {
  const port = Number(new URL(agentUrl).port);
  const target = { host: '127.0.0.1', port, servername: 'localhost' };
  const der = await new Promise<Buffer>((resolve, reject) => {
    const socket = connect({ ...target, rejectUnauthorized: false }, () => {
      let shown: DetailedPeerCertificate = socket.getPeerCertificate(true);
      while (shown.issuerCertificate && shown.issuerCertificate !== shown) shown = shown.issuerCertificate;
      resolve(shown.raw);
      socket.destroy();
    });
    socket.on('error', reject);
  });
  if (sha256Fingerprint(new X509Certificate(der)) !== caFingerprint) throw new Error('The chain shows another root');
  return { ...target, ca: writePem('CERTIFICATE', der) };
}

/** A computer that enrolled over the wire with a token and a key of its own, and reports by hand. */
export interface EnrolledComputer {
  readonly computerId: string;
  readonly identity: ClientIdentity;
  /** A report as an agent makes it, naming its computer; every one has the next sequence. */
  report(changes?: object): Record<string, unknown>;
  /** Sends bytes, or a report as JSON, to the heartbeat route. */
  beat(body: object | string | Buffer, more?: Partial<Parameters<typeof call>[1]>): Promise<CallAnswer>;
}

export async function enrollComputer(
  target: CallTarget,
  { token, name }: { readonly token: string; readonly name: string },
): Promise<EnrolledComputer> {
  const key = newKey();
  const headers = { 'Content-Type': 'application/json' };
  const body = JSON.stringify(enrollBody(token, key, name));
  const answer = await call(target, { method: 'POST', path: AGENT_PATHS.enroll, headers, body });
  if (answer.status !== 200) throw new Error(`Enrollment answered ${answer.status}: ${answer.text}`);
  const certificate = String(answer.body['certificate']);
  const [intermediate = ''] = answer.body['chain'] as string[];
  const computerId = computerOf(certificate);
  const identity = {
    cert: `${certificate}\n${intermediate}`,
    key: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
  let sequence = 0;
  return {
    computerId,
    identity,
    report: (changes) => ({ ...steadyReport(Date.now()), computerId, sequence: (sequence += 1), ...changes }),
    beat: (report, more = {}) =>
      call(
        { ...target, ...identity },
        {
          method: 'POST',
          path: AGENT_PATHS.heartbeat,
          body: typeof report === 'string' || Buffer.isBuffer(report) ? report : JSON.stringify(report),
          ...more,
          headers: { ...headers, ...more.headers },
        },
      ),
  };
}
