/** How often a method is called while `act` runs: a bound on the work that no load of the machine can break. */
export function countCalls<K extends string>(
  owner: Record<K, (...values: never[]) => unknown>,
  method: K,
  act: () => void,
): number {
  const own = Object.getOwnPropertyDescriptor(owner, method);
  const original = owner[method] as (...values: unknown[]) => unknown;
  let calls = 0;
  const counting = function (this: unknown, ...values: unknown[]): unknown {
    calls += 1;
    return original.apply(this, values);
  };
  Object.defineProperty(owner, method, { ...own, value: counting, configurable: true, writable: true });
  try {
    act();
  } finally {
    if (own) Object.defineProperty(owner, method, own);
    else delete (owner as Partial<Record<K, unknown>>)[method];
  }
  return calls;
}
