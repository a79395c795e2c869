/** Names and lists of kernel modules (proc_modules(5), kbuild's modules.builtin); pure. */

const MODULE_NAME = /^[A-Za-z0-9_-]{1,63}$/;

/** The kernel takes `-` and `_` for the same in the names of modules. */
export function normalModuleName(name: string): string {
  return name.replaceAll('-', '_');
}

/** The module that `match` means, or undefined if none can be called so (a path, a pattern). */
export function toModuleName(match: string): string | undefined {
  return MODULE_NAME.test(match) ? normalModuleName(match) : undefined;
}

/** /proc/modules: name, size, uses, users, state, address. */
export function parseLoadedModules(text: string): ReadonlyMap<string, string> {
  const rows = text.split('\n').map((row) => row.split(' '));
  const known = rows.filter(([name]) => name !== undefined && name !== '');
  return new Map(known.map(([name = '', , , , state = 'Live']) => [normalModuleName(name), state]));
}

/** modules.builtin: one path such as `kernel/fs/ext4/ext4.ko` per line. */
export function parseBuiltInModules(text: string): string[] {
  return [...text.matchAll(/([^/\n]+)\.ko$/gm)].map(([, name = '']) => normalModuleName(name));
}
