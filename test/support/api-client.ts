/** A small client of the admin API for tests: signs in once, sends the cookie and the CSRF token. */
export interface ApiClient {
  signIn(name: string, password: string): Promise<void>;
  request<T = Record<string, unknown>>(method: string, path: string, options?: RequestOptions): Promise<ApiAnswer<T>>;
  /** The body of a GET; fails when the status is not 200. */
  get<T = Record<string, unknown>>(path: string): Promise<T>;
  /** The body of a POST; fails when the status is not 2xx. */
  post<T = Record<string, unknown>>(path: string, body: unknown): Promise<T>;
  /** PATCH with the revision that a GET of the same path names. */
  patch<T = Record<string, unknown>>(path: string, body: unknown): Promise<T>;
}

export interface RequestOptions {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface ApiAnswer<T> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: T;
}

export function createApiClient(adminUrl: string): ApiClient {
  let session: Record<string, string> = {};

  async function request<T>(method: string, path: string, options: RequestOptions = {}): Promise<ApiAnswer<T>> {
    const json = options.body === undefined ? {} : { 'content-type': 'application/json' };
    const response = await fetch(`${adminUrl}/api/v1${path}`, {
      method,
      headers: { ...json, ...session, ...options.headers },
      ...(options.body === undefined
        ? {}
        : { body: typeof options.body === 'string' ? options.body : JSON.stringify(options.body) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      body: (text === '' ? undefined : JSON.parse(text)) as T,
    };
  }

  async function successful<T>(method: string, path: string, options: RequestOptions = {}): Promise<ApiAnswer<T>> {
    const answer = await request<T>(method, path, options);
    if (answer.status >= 300)
      throw new Error(`${method} ${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    return answer;
  }

  return {
    request,
    async signIn(name, password) {
      const answer = await successful<{ csrfToken: string }>('POST', '/sessions', { body: { name, password } });
      const cookie = answer.headers.getSetCookie()[0]?.split(';')[0] ?? '';
      session = { cookie, 'x-csrf-token': answer.body.csrfToken };
    },
    get: async <T>(path: string) => (await successful<T>('GET', path)).body,
    post: async <T>(path: string, body: unknown) => (await successful<T>('POST', path, { body })).body,
    async patch<T>(path: string, body: unknown) {
      const current = await successful('GET', path);
      const headers = { 'if-match': current.headers.get('etag') ?? '', 'content-type': 'application/merge-patch+json' };
      return (await successful<T>('PATCH', path, { body, headers })).body;
    },
  };
}
