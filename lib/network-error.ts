/** What happened to a connection, by what the operating system, TLS or the HTTP parser reported. */
export type NetworkFault =
  'dns' | 'refused' | 'timeout' | 'reset' | 'unreachable' | 'tls-refused' | 'no-tls' | 'no-http' | 'unknown';

const BY_ERRNO: Readonly<Record<string, NetworkFault>> = {
  ENOTFOUND: 'dns',
  EAI_AGAIN: 'dns',
  EAI_FAIL: 'dns',
  ECONNREFUSED: 'refused',
  ETIMEDOUT: 'timeout',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
  ECONNABORTED: 'reset',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  EHOSTDOWN: 'unreachable',
};

/** What OpenSSL says of bytes that are no TLS at all. */
const NO_TLS: ReadonlySet<string> = new Set([
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_HTTP_REQUEST',
  'ERR_SSL_UNKNOWN_PROTOCOL',
]);

/** The fault, and the first line of what was said of it; of several addresses that were tried, the first one's. */
export function networkFaultOf(error: unknown): { readonly fault: NetworkFault; readonly text: string } {
  const { code, errors, message } = Object(error) as { code?: unknown; errors?: unknown; message?: unknown };
  const [first] = Array.isArray(errors) ? (errors as unknown[]) : [];
  if (code === undefined && first !== undefined) return networkFaultOf(first);
  // OpenSSL ends its messages with a line feed.
  const [text = ''] = String(message ?? error).split('\n');
  return { fault: faultOf(String(code ?? '')), text };
}

function faultOf(code: string): NetworkFault {
  if (NO_TLS.has(code)) return 'no-tls';
  if (code.startsWith('HPE_')) return 'no-http';
  return BY_ERRNO[code] ?? (/SSL|TLS/.test(code) ? 'tls-refused' : 'unknown');
}

/** The fault `reset` where Node itself reports none. */
export function connectionReset(message: string): Error {
  return Object.assign(new Error(message), { code: 'ECONNRESET' });
}
