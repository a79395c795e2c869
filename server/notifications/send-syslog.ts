import { createSocket } from 'node:dgram';
import { isIP, type Socket } from 'node:net';
import { once } from 'node:events';
import type { SyslogSettings } from './channel.js';
import { cefOfAlert, cefOfRest, cefOfTest, severityIn, UNLISTED_SEVERITY } from './cef-rules.js';
import { DeliveryFailure, toDeliveryFailure } from './delivery-failure.js';
import { openTcp, openTls } from './guarded-socket.js';
import type { Message } from './message.js';
import type { SendContext } from './sender.js';
import { datagramOf, formatSyslog, frame, syslogSeverity } from './syslog-rules.js';

/** Sends one event per alert. Over UDP nobody says whether it arrived; over TCP and TLS the close is waited for. */
export async function sendSyslog(context: SendContext, settings: SyslogSettings, message: Message): Promise<void> {
  const lines = linesOf(context, settings, message);
  if (settings.protocol === 'udp') return sendDatagrams(context, settings, lines.map(datagramOf));
  const { deps, signal } = context;
  const plain = await openTcp(deps, settings, signal);
  const socket = settings.protocol === 'tls' ? await openTls(plain, settings, signal) : plain;
  await writeAndClose(socket, Buffer.concat(lines.map(frame)), signal);
}

function linesOf({ deps }: SendContext, { facility }: SyslogSettings, message: Message): Buffer[] {
  const { node: host, version } = deps;
  const { kind, timestamp, alerts, more } = message;
  const line = (severity: string, text: string): Buffer => {
    const told = syslogSeverity(severityIn(kind, severity));
    return formatSyslog({ facility, severity: told, timestamp, host, messageId: kind, text });
  };
  if (kind === 'test') return [line('info', cefOfTest(message, version))];
  const lines = alerts.map((alert) => line(alert.severity, cefOfAlert(message, alert, version)));
  return more > 0 ? [...lines, line(UNLISTED_SEVERITY, cefOfRest(message, version))] : lines;
}

async function sendDatagrams(
  { deps, signal }: SendContext,
  { host, port }: SyslogSettings,
  datagrams: readonly Buffer[],
): Promise<void> {
  const [address] = await deps.checkTarget({ host, port }, signal).catch((error: unknown) => {
    throw toDeliveryFailure(error);
  });
  if (address === undefined) throw new DeliveryFailure('dns', 'the name has no address');
  const socket = createSocket(isIP(address) === 6 ? 'udp6' : 'udp4');
  // A refusal arrives when it does, also between two datagrams: unheard it would end the process.
  const refused = new Promise<never>((_resolve, reject) => void socket.on('error', reject));
  refused.catch(() => undefined);
  try {
    socket.connect(port, address);
    await once(socket, 'connect', { signal });
    for (const datagram of datagrams) await Promise.race([sendOne(socket, datagram), refused]);
  } catch (error) {
    throw toDeliveryFailure(signal.aborted ? signal.reason : error);
  } finally {
    socket.close();
  }
}

function sendOne(socket: ReturnType<typeof createSocket>, datagram: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.send(datagram, (error) => (error ? reject(error) : resolve()));
  });
}

/** A receiver never closes first: one that does within this time has nobody behind it, and what was written is lost. */
const REFUSAL_MS = 250;
/** A receiver that vanished answers with a reset; one that got everything closes its side too, or says nothing. */
const CLOSE_MS = 2000;

function writeAndClose(socket: Socket, bytes: Buffer, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    let isEnded = false;
    const finish = (settle: () => void): void => {
      signal.removeEventListener('abort', abort);
      socket.destroy();
      settle();
    };
    const fail = (error: unknown): void => finish(() => reject(toDeliveryFailure(error)));
    const abort = (): void => fail(signal.reason);
    const refuse = (): void => fail(new DeliveryFailure('reset', 'the receiver closed the connection'));
    if (socket.destroyed) return refuse();
    signal.addEventListener('abort', abort, { once: true });
    socket.once('error', fail);
    socket.once('end', () => {
      if (!isEnded) refuse();
    });
    socket.once('close', (hadError: boolean) => {
      if (!hadError) finish(resolve);
    });
    // What a receiver says is of no interest, but unread it would keep the close from being seen.
    socket.resume();
    const end = (): void => {
      isEnded = true;
      socket.end(() => socket.setTimeout(CLOSE_MS, () => finish(resolve)));
    };
    socket.write(bytes, () => socket.setTimeout(REFUSAL_MS, end));
  });
}
