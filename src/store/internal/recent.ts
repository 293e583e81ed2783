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
      this.values.delete(this.values.keys().next().value!)
    }
  }

  delete(key: K): void {
    this.values.delete(key)
  }
}
