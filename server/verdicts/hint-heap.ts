/** A binary heap over slots 0, 1, …, ordered by one instant each; slots are only ever added. */
export class HintHeap {
  #hints: Float64Array;
  #heap: Int32Array;
  #places: Int32Array;
  #size = 0;

  constructor(capacity: number) {
    this.#hints = new Float64Array(capacity);
    this.#heap = new Int32Array(capacity);
    this.#places = new Int32Array(capacity);
  }

  grow(capacity: number): void {
    const [hints, heap, places] = [this.#hints, this.#heap, this.#places];
    this.#hints = new Float64Array(capacity);
    this.#heap = new Int32Array(capacity);
    this.#places = new Int32Array(capacity);
    this.#hints.set(hints);
    this.#heap.set(heap);
    this.#places.set(places);
  }

  /** The next slot, with its instant. */
  add(hint: number): number {
    const slot = this.#size;
    this.#size += 1;
    this.#hints[slot] = hint;
    this.#place(slot, slot);
    this.#rise(slot);
    return slot;
  }

  hintOf(slot: number): number {
    return this.#hints[slot] ?? Number.POSITIVE_INFINITY;
  }

  set(slot: number, hint: number): void {
    const before = this.hintOf(slot);
    this.#hints[slot] = hint;
    const place = this.#places[slot] ?? 0;
    if (hint < before) this.#rise(place);
    else if (hint > before) this.#sink(place);
  }

  /** The slot with the earliest instant; undefined when there are none. */
  first(): number | undefined {
    return this.#size === 0 ? undefined : this.#heap[0];
  }

  earliest(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : this.#hintAt(0);
  }

  #slotAt(place: number): number {
    return this.#heap[place] ?? 0;
  }

  #hintAt(place: number): number {
    return this.hintOf(this.#slotAt(place));
  }

  #place(slot: number, place: number): void {
    this.#heap[place] = slot;
    this.#places[slot] = place;
  }

  #swap(a: number, b: number): void {
    const [one, other] = [this.#slotAt(a), this.#slotAt(b)];
    this.#place(one, b);
    this.#place(other, a);
  }

  #rise(from: number): void {
    let place = from;
    while (place > 0) {
      const parent = (place - 1) >>> 1;
      if (this.#hintAt(parent) <= this.#hintAt(place)) return;
      this.#swap(parent, place);
      place = parent;
    }
  }

  #sink(from: number): void {
    let place = from;
    for (;;) {
      const left = 2 * place + 1;
      if (left >= this.#size) return;
      const right = left + 1;
      const child = right < this.#size && this.#hintAt(right) < this.#hintAt(left) ? right : left;
      if (this.#hintAt(place) <= this.#hintAt(child)) return;
      this.#swap(place, child);
      place = child;
    }
  }
}
