/** The cookie that carries a session's secret. Over TLS it is bound to the host and never sent in plain text. */
export interface SessionCookie {
  readonly name: string;
  /** The value of `Set-Cookie`. */
  set(secret: string): string;
  clear(): string;
  /** The secret in a `Cookie` header, if one is there in the form that `set` writes. */
  read(header: string | undefined): string | undefined;
}

const SECRET = /^[A-Za-z0-9_-]{43}$/;

export function createSessionCookie({ secure }: { readonly secure: boolean }): SessionCookie {
  const name = secure ? '__Host-wardbeat' : 'wardbeat';
  const attributes = `Path=/; HttpOnly; SameSite=Strict${secure ? '; Secure' : ''}`;
  return {
    name,
    set: (secret) => `${name}=${secret}; ${attributes}`,
    clear: () => `${name}=; ${attributes}; Max-Age=0`,
    read(header = '') {
      const pairs = header.split(';').map((pair) => pair.trim());
      const values = pairs.filter((pair) => pair.startsWith(`${name}=`)).map((pair) => pair.slice(name.length + 1));
      const [value] = values;
      return value !== undefined && values.length === 1 && SECRET.test(value) ? value : undefined;
    },
  };
}
