// A bounded memory with expiry. The one used longest ago goes first. What has expired is kept while there is room: an
// old placeholder is better than none while the service is away.

interface Slot<V> {
  value: V
  freshUntil: number
}

export class Memory<V> {
  readonly #slots = new Map<string, Slot<V>>()
  readonly #max: number

  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#slots.size
  }

  /** What is remembered, with whether it is fresh. */
  get(key: string, now: number): { value: V; fresh: boolean } | undefined {
    const slot = this.#slots.get(key)
    if (!slot) return undefined
    // A map hands out its keys in the order they were put in.
    this.#slots.delete(key)
    this.#slots.set(key, slot)
    return { value: slot.value, fresh: now < slot.freshUntil }
  }

  set(key: string, value: V, freshUntil: number): void {
    this.#slots.delete(key)
    this.#slots.set(key, { value, freshUntil })
    for (const oldest of this.#slots.keys()) {
      if (this.#slots.size <= this.#max) break
      this.#slots.delete(oldest)
    }
  }
}
