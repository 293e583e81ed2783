/**
 * What a store in memory keeps besides its events: maps whose changes can be taken back.
 *
 * What open transactions change is noted, for all tables in one list, so that it can be taken back and not be seen outside.
 */

/**
 * The changes that open transactions have made.
 */
export class Journal {
  private readonly changes: Array<Change> = []

  /** How many changes open transactions have made up to now. */
  get changed(): number {
    return this.changes.length
  }

  note(change: Change): void {
    this.changes.push(change)
  }

  /** What was before all but the first `changed` changes, for those of a table. */
  before(table: Table<any>, changed: number): ReadonlyMap<string, unknown> {
    const before = new Map<string, unknown>()
    for (let i = this.changes.length - 1; i >= changed; i--) {
      const change = this.changes[i]!
      if (change.table === table) {
        before.set(change.key, change.before)
      }
    }
    return before
  }

  /** Takes back all but the first `changed` changes. */
  rollback(changed: number): void {
    while (this.changes.length > changed) {
      const { before, key, table } = this.changes.pop()!
      table.restore(key, before)
    }
  }

  commit(): void {
    this.changes.length = 0
  }
}

interface Change {
  readonly table: Table<any>
  readonly key: string
  readonly before: unknown
}

/**
 * Values by key. An absent one is `undefined`.
 */
export class Table<V> {
  private readonly byKey = new Map<string, V>()
  private readonly journal: Journal

  constructor(journal: Journal) {
    this.journal = journal
  }

  /** The value of a key as it was before all but the first `changed` changes. */
  get(key: string, changed: number): V | undefined {
    if (changed < this.journal.changed) {
      const before = this.journal.before(this, changed)
      if (before.has(key)) {
        return before.get(key) as V | undefined
      }
    }
    return this.byKey.get(key)
  }

  /** All values as they were before all but the first `changed` changes, in no order. */
  entries(changed: number): ReadonlyMap<string, V> {
    const before = changed < this.journal.changed ? this.journal.before(this, changed) : undefined
    if (before === undefined || before.size === 0) {
      return this.byKey
    }
    const entries = new Map(this.byKey)
    for (const [key, value] of before) {
      if (value === undefined) {
        entries.delete(key)
      } else {
        entries.set(key, value as V)
      }
    }
    return entries
  }

  set(key: string, value: V | undefined, isFinal: boolean): void {
    if (!isFinal) {
      this.journal.note({ table: this, key, before: this.byKey.get(key) })
    }
    this.restore(key, value)
  }

  restore(key: string, value: V | undefined): void {
    if (value === undefined) {
      this.byKey.delete(key)
    } else {
      this.byKey.set(key, value)
    }
  }
}
