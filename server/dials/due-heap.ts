/** A binary heap of values by an instant each. */
export class DueHeap<Value> {
  readonly #nodes: { readonly at: number; readonly value: Value }[] = [];

  get size(): number {
    return this.#nodes.length;
  }

  peek(): { readonly at: number; readonly value: Value } | undefined {
    return this.#nodes[0];
  }

  push(at: number, value: Value): void {
    const node = { at, value };
    let index = this.#nodes.push(node) - 1;
    while (index > 0) {
      const parent = (index - 1) >>> 1;
      const above = this.#nodes[parent];
      if (!above || above.at <= at) break;
      this.#nodes[index] = above;
      index = parent;
    }
    this.#nodes[index] = node;
  }

  pop(): { readonly at: number; readonly value: Value } | undefined {
    const [first] = this.#nodes;
    const last = this.#nodes.pop();
    if (last && this.#nodes.length > 0) this.#sink(last);
    return first;
  }

  #sink(node: { readonly at: number; readonly value: Value }): void {
    const nodes = this.#nodes;
    let index = 0;
    for (;;) {
      const left = nodes[2 * index + 1];
      const right = nodes[2 * index + 2];
      const isRight = right !== undefined && left !== undefined && right.at < left.at;
      const child = isRight ? right : left;
      if (!child || child.at >= node.at) break;
      nodes[index] = child;
      index = 2 * index + (isRight ? 2 : 1);
    }
    nodes[index] = node;
  }
}
