import { request as httpRequest } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';

/** Where to call: plain HTTP without `ca`, TLS with it. */
export interface CallTarget {
  readonly host: string;
  readonly port: number;
  readonly ca?: string;
  readonly servername?: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface Call {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer | undefined;
  /** Sends the body in chunks without saying its length. */
  readonly chunked?: boolean;
}

export interface CallAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** The body where it is JSON, else an empty object. */
  readonly body: Record<string, unknown>;
}

/** One call on a connection of its own, its bytes exactly as given; nothing is added but the length. */
export function call(target: CallTarget, { method, path, headers = {}, body, chunked = false }: Call) {
  const bytes = body === undefined ? undefined : Buffer.from(body as string);
  const length = bytes === undefined ? {} : { 'Content-Length': String(bytes.length) };
  const framing = chunked ? { 'Transfer-Encoding': 'chunked' } : length;
  const options: RequestOptions = { ...target, method, path, headers: { ...framing, ...headers }, agent: false };
  return new Promise<CallAnswer>((resolve, reject) => {
    const make = target.ca === undefined ? httpRequest : httpsRequest;
    const request = make(options, (response) => {
      let text = '';
      const settle = () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text, body: parsed(text) });
      response.setEncoding('utf8').on('data', (chunk) => (text += String(chunk)));
      response.on('end', settle).on('error', settle);
    });
    request.on('error', reject);
    request.end(bytes);
  });
}

function parsed(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}
