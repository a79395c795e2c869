/** What the reference knows of an object: the policy, the computers or the label by which it belongs somewhere. */
export type Owner =
  | { readonly policy: string | null }
  | { readonly computer: string }
  /** Seen by whoever sees one of them. */
  | { readonly oneOf: readonly string[] }
  | { readonly label: string };

export const KINDS = [
  'policy',
  'computer',
  'alert',
  'event',
  'command',
  'operation',
  'token',
  'window',
  'route',
  'delivery',
  'user',
  'session',
  'key',
] as const;
export type Kind = (typeof KINDS)[number];

export interface Thing {
  readonly kind: Kind;
  readonly id: string;
  /** Found in no other object. */
  readonly name: string | null;
  readonly owner: Owner;
}

interface ModelComputer {
  policy: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Who may see what, kept without the product: a reader sees what belongs to a policy at or below his own. */
export class ScopeModel {
  readonly parents = new Map<string, string | null>();
  readonly computers = new Map<string, ModelComputer>();
  readonly things: Thing[] = [];

  add(thing: Thing): string {
    this.things.push(thing);
    return thing.id;
  }

  holds(root: string, policy: string | null): boolean {
    for (let id = policy; id !== null; id = this.parents.get(id) ?? null) if (id === root) return true;
    return false;
  }

  sees(root: string, { owner }: Pick<Thing, 'owner'>): boolean {
    if ('policy' in owner) return this.holds(root, owner.policy);
    if ('computer' in owner) return this.seesComputer(root, owner.computer);
    if ('oneOf' in owner) return owner.oneOf.some((id) => this.seesComputer(root, id));
    return [...this.computers].some(
      ([id, { labels }]) => Object.hasOwn(labels, owner.label) && this.seesComputer(root, id),
    );
  }

  seesComputer(root: string, id: string): boolean {
    return this.holds(root, this.computers.get(id)?.policy ?? null);
  }

  visible(root: string, kind: Kind): string[] {
    return this.things
      .filter((thing) => thing.kind === kind && this.sees(root, thing))
      .map(({ id }) => id)
      .toSorted();
  }

  hidden(root: string): Thing[] {
    return this.things.filter((thing) => !this.sees(root, thing));
  }
}
