/**
 * Makes generated commands speak of what happened before.
 *
 * Values that are generated independently hardly ever meet: a command that releases a booking would name one that nobody
 * made. So some of a command's values are replaced by values that earlier commands and events of the same run carried.
 */

/** What was said on a walk so far: its texts and numbers, by the name of their field and by their type. */
export interface Heard {
  readonly byName: Map<string, Array<Leaf>>
  readonly byType: Map<string, Array<Leaf>>
}

type Leaf = string | number | bigint

export const nothingHeard = (): Heard => ({ byName: new Map(), byType: new Map() })

/** Remembers the texts and numbers of a value, keys of maps too. Of each name and type the last ones are kept. */
export const hear = (heard: Heard, value: unknown): void => {
  let left = 50
  const go = (value: unknown, name: string): void => {
    if (left <= 0) {
      return
    }
    if (isLeaf(value)) {
      left--
      keep(heard.byName, name, value)
      keep(heard.byType, typeof value, value)
    } else if (typeof value === "object" && value !== null) {
      if (value instanceof Map) {
        value.forEach((each, key) => [key, each].forEach((part) => go(part, name)))
      } else if (Array.isArray(value) || value instanceof Set) {
        value.forEach((each) => go(each, name))
      } else {
        for (const [key, each] of Object.entries(value)) {
          if (key !== "_tag") {
            go(each, key)
          }
        }
      }
    }
  }
  go(value, "")
}

const keep = (kept: Map<string, Array<Leaf>>, key: string, value: Leaf): void => {
  const values = kept.get(key) ?? []
  kept.set(key, values)
  const at = values.indexOf(value)
  if (at !== -1) {
    values.splice(at, 1)
  }
  values.push(value)
  if (values.length > 8) {
    values.shift()
  }
}

/** The same value, with some of its texts and numbers replaced by what was heard. Instances of classes stay as they are. */
export const echo = <A>(value: A, heard: Heard, random: () => number): A => {
  const go = (value: unknown, name: string): unknown => {
    if (isLeaf(value)) {
      const chance = random()
      const known = chance < 0.4 ? heard.byName.get(name) : chance < 0.7 ? heard.byType.get(typeof value) : undefined
      const said = known?.filter((each) => typeof each === typeof value)
      return said === undefined || said.length === 0 ? value : near(pick(said, random)!, random)
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

/** A value itself, or one next to it: rules change their mind at the edge. */
const near = (value: Leaf, random: () => number): Leaf => {
  if (typeof value === "string") {
    return value
  }
  const chance = random()
  const step = chance < 0.15 ? 1 : chance < 0.3 ? -1 : 0
  return typeof value === "bigint" ? value + BigInt(step) : value + step
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
