import { Webhook } from 'standardwebhooks';
import type { ManagerProcess } from './manager-process.js';
import { readReceiverTls, startHttpsReceiver, type HttpsReceiver } from './receivers.js';
import { makeTlsFiles } from './tls-files.js';

/** The environment of a manager that may send to receivers of this machine. */
export const HOOK_ENV = { WARDBEAT_NOTIFY_ALLOWED_CIDRS: '127.0.0.0/8' };

/** One alert as a message tells it. */
export interface ToldAlert {
  readonly kind: string;
  readonly type: string;
  readonly subject: string;
  readonly computerName: string | null;
}

interface HookBody {
  readonly type: string;
  readonly data: {
    readonly alerts: readonly {
      readonly type: string;
      readonly subject: string;
      readonly computer: { readonly name: string } | null;
    }[];
    readonly more: number;
  };
}

/** A webhook receiver that every alert goes to, as somebody who is on call would have it. */
export interface AlertHook {
  /** Everything told so far, each message once. Throws when a signature is wrong or a message counts what it does not list. */
  told(): readonly ToldAlert[];
  /** Messages so far, each once. */
  messages(): number;
  close(): Promise<void>;
}

/** `folder` is for the receiver's certificate; the manager was started with `HOOK_ENV`, and its client is signed in. */
export async function openAlertHook(
  manager: Pick<ManagerProcess, 'api'>,
  { folder, route = {} }: { readonly folder: string; readonly route?: Readonly<Record<string, unknown>> },
): Promise<AlertHook> {
  const tls = readReceiverTls(await makeTlsFiles(folder, 'receiver'));
  const receiver = await startHttpsReceiver(tls);
  const url = `https://127.0.0.1:${receiver.port}/wardbeat`;
  const channel = { name: 'on call', type: 'webhook', url, caPem: tls.caPem };
  const { id, signingSecret } = await manager.api.post<{ id: string; signingSecret: string }>(
    '/notification-channels',
    channel,
  );
  await manager.api.post('/notification-routes', { name: 'all', channelId: id, groupSeconds: 0, ...route });
  const seen = hear(receiver, new Webhook(signingSecret));
  return {
    told: () => seen().flatMap(toldOf),
    messages: () => seen().length,
    close: () => receiver.close(),
  };
}

/** Verifies what comes as it comes, since a signature is good for some minutes only; a message may come more than once. */
function hear(receiver: HttpsReceiver, webhook: Webhook): () => readonly HookBody[] {
  const bodies = new Map<string, HookBody>();
  const faults: unknown[] = [];
  receiver.answer = ({ headers, body }, response) => {
    try {
      const verified = webhook.verify(body, headers as Record<string, string>);
      bodies.set(String(headers['webhook-id']), verified as HookBody);
    } catch (error) {
      faults.push(error);
    }
    response.writeHead(204).end();
  };
  return () => {
    if (faults.length > 0) throw faults[0];
    return [...bodies.values()];
  };
}

function toldOf({ type: kind, data: { alerts, more } }: HookBody): ToldAlert[] {
  if (more > 0) throw new Error(`A message counts ${more} alerts that it does not list`);
  return alerts.map(({ type, subject, computer }) => ({ kind, type, subject, computerName: computer?.name ?? null }));
}
