/**
 * Stands for an object that must not be used: it can be handed on and its members can be named, but calling or
 * changing any of them throws. So routes are composed to be described, without anything being opened.
 */
export function inert<T extends object>(name: string): T {
  const refuse = (): never => {
    throw new Error(`${name} is inert: it describes and does nothing`);
  };
  return new Proxy(refuse, {
    get: (_target, member) => (typeof member === 'symbol' ? undefined : inert(`${name}.${member}`)),
    set: refuse,
    apply: refuse,
    construct: refuse,
  }) as unknown as T;
}
