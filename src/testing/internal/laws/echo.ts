/**
 * Makes generated commands speak of what happened before.
 *
 * Values that are generated independently hardly ever meet: a command that releases a booking would name one that nobody
 * made. So some of a command's values are replaced by values that earlier commands and events of the same run carried.
 */

/** What a run said so far: its texts and numbers, by the name of their field. */
export interface Heard {
  readonly byName: Map<string, Array<Leaf>>
  readonly byType: Map<string, Array<Leaf>>
}

type Leaf = string | number | bigint

export const nothingHeard = (): Heard => ({ byName: new Map(), byType: new Map() })

/** Remembers the texts and numbers of a value. Of each name the last ones are kept. */
export const hear = (heard: Heard, value: unknown, name = ""): void => {
  if (isLeaf(value)) {
    keep(heard.byName, name, value)
    keep(heard.byType, typeof value, value)
  } else if (Array.isArray(value)) {
    value.forEach((each) => hear(heard, each, name))
  } else if (typeof value === "object" && value !== null) {
    for (const [key, each] of Object.entries(value)) {
      if (key !== "_tag") {
        hear(heard, each, key)
      }
    }
  }
}

const keep = (kept: Map<string, Array<Leaf>>, key: string, value: Leaf): void => {
  const values = kept.get(key) ?? []
  kept.set(key, values)
  if (!values.includes(value)) {
    values.push(value)
    if (values.length > 8) {
      values.shift()
    }
  }
}

/** The same value, with some of its texts and numbers replaced by what was heard. Instances of classes stay as they are. */
export const echo = <A>(value: A, heard: Heard, random: () => number): A => {
  const go = (value: unknown, name: string): unknown => {
    if (isLeaf(value)) {
      const named = heard.byName.get(name)
      if (named !== undefined && random() < 0.5) {
        return pick(named, random)
      }
      const alike = heard.byType.get(typeof value)
      return alike !== undefined && random() < 0.2 ? pick(alike, random) : value
    }
    if (Array.isArray(value)) {
      return value.map((each) => go(each, name))
    }
    if (isPlain(value)) {
      return Object.fromEntries(
        Object.entries(value).map(([key, each]) => [key, key === "_tag" ? each : go(each, key)])
      )
    }
    return value
  }
  return go(value, "") as A
}

/** One of the values, `undefined` when there are none. */
export const pick = <A>(values: Iterable<A>, random: () => number): A | undefined => {
  const all = Array.isArray(values) ? (values as ReadonlyArray<A>) : Array.from(values)
  return all[Math.floor(random() * all.length)]
}

/** Numbers from 0 to 1 that depend on the seed alone (mulberry32, by Tommy Ettinger, public domain). */
export const randomFrom = (seed: number): (() => number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

const isLeaf = (value: unknown): value is Leaf =>
  typeof value === "string" || typeof value === "number" || typeof value === "bigint"

const isPlain = (value: unknown): value is object => {
  if (typeof value !== "object" || value === null) {
    return false
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}
