/**
 * The values of the keys that were used last, at most so many.
 */
export class Recent<K, V> {
  // A `Map` keeps the order of insertion: the first key is the one that was not used for longest.
  private readonly values = new Map<K, V>()
  private readonly capacity: number

  constructor(capacity: number) {
    this.capacity = capacity
  }

  get(key: K): V | undefined {
    const value = this.values.get(key)
    if (value !== undefined) {
      this.values.delete(key)
      this.values.set(key, value)
    }
    return value
  }

  set(key: K, value: V): void {
    this.values.delete(key)
    this.values.set(key, value)
    if (this.values.size > this.capacity) {
      this.forget()
    }
  }

  // An eighth at once: to get at the first key, a `Map` steps over all that were deleted before it.
  private forget(): void {
    const kept = this.capacity - (this.capacity >>> 3)
    for (const key of this.values.keys()) {
      if (this.values.size <= kept) {
        return
      }
      this.values.delete(key)
    }
  }

  delete(key: K): void {
    this.values.delete(key)
  }

  clear(): void {
    this.values.clear()
  }
}
