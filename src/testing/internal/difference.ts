/**
 * Finds where two values differ, to say it in a failure.
 */
import * as Chunk from "effect/Chunk"
import * as Equal from "effect/Equal"
import * as HashMap from "effect/HashMap"
import * as HashSet from "effect/HashSet"
import { show } from "./show.ts"

export { show } from "./show.ts"

/**
 * The first place where two values differ, in words; `undefined` when they are the same.
 *
 * Same means: the same prototype, the same own enumerable fields in any order, the same content of maps and sets in any
 * order, and leaves that `Object.is` calls the same, so that `0` and `-0` differ. Looks at the values each time; `Equal`
 * remembers hashes, which would hide a later change.
 */
export const difference = (actual: unknown, expected: unknown, path = ""): string | undefined =>
  compare(actual, expected, path, false)

/**
 * The first place where two values differ as data: what a store or a rule of a domain can tell apart.
 *
 * Like {@link difference}, but `0` is `-0`, which JSON cannot hold, a field that is `undefined` is a field that is missing,
 * and an object without a prototype is a plain object. What says itself what it equals is believed: `1.50` is `1.5` to
 * `BigDecimal`. Functions are the same when their text is.
 */
export const differenceAsData = (actual: unknown, expected: unknown, path = ""): string | undefined =>
  compare(actual, expected, path, true)

const compare = (actual: unknown, expected: unknown, path: string, asData: boolean): string | undefined => {
  if (Object.is(actual, expected) || (asData && actual === expected)) {
    return undefined
  }
  if (!isObject(actual) || !isObject(expected)) {
    return asData && typeof actual === "function" && typeof expected === "function" && `${actual}` === `${expected}`
      ? undefined
      : `${at(path)}expected ${show(expected)}, saw ${show(actual)}`
  }
  if (prototypeOf(actual, asData) !== prototypeOf(expected, asData)) {
    return `${at(path)}expected ${show(expected)}, saw ${show(actual)}, which is of another kind`
  }
  if (asData && Equal.isEqual(actual) && Equal.equals(actual, expected)) {
    return undefined
  }
  if (isArrayLike(actual) && isArrayLike(expected) && actual.length !== expected.length) {
    return `${at(path)}expected ${expected.length} elements, ${show(expected)}, saw ${actual.length}, ${show(actual)}`
  }
  if (actual instanceof Date && expected instanceof Date) {
    return Object.is(actual.getTime(), expected.getTime())
      ? undefined
      : `${at(path)}expected ${show(expected)}, saw ${show(actual)}`
  }
  if (isMap(actual) && isMap(expected)) {
    return compareMaps(entriesOf(actual), entriesOf(expected), path, asData)
  }
  if (isSet(actual) && isSet(expected)) {
    return compareMaps(valuesOf(actual), valuesOf(expected), path, asData)
  }
  if (Chunk.isChunk(actual) && Chunk.isChunk(expected)) {
    return compare(Chunk.toReadonlyArray(actual), Chunk.toReadonlyArray(expected), path, asData)
  }
  for (const key of new Set([...Object.keys(expected), ...Object.keys(actual)])) {
    const inner = `${path}[${isArrayLike(expected) ? key : JSON.stringify(key)}]`
    if (!Object.hasOwn(actual, key) && !(asData && expected[key] === undefined)) {
      return `${at(inner)}expected ${show(expected[key])}, saw no such field`
    }
    if (!Object.hasOwn(expected, key) && !(asData && actual[key] === undefined)) {
      return `${at(inner)}expected no such field, saw ${show(actual[key])}`
    }
    const found = compare(actual[key], expected[key], inner, asData)
    if (found !== undefined) {
      return found
    }
  }
  return undefined
}

type Entries = ReadonlyArray<readonly [key: unknown, value: unknown]>

/** Keys that are objects are the same when their content is. */
const compareMaps = (actual: Entries, expected: Entries, path: string, asData: boolean): string | undefined => {
  const left = new Map(actual)
  for (const [key, value] of expected) {
    const inner = `${path}[${show(key)}]`
    const same = left.has(key)
      ? key
      : isObject(key)
        ? Array.from(left.keys()).find((other) => compare(other, key, "", asData) === undefined)
        : undefined
    if (!left.has(same) || (same === undefined && key !== undefined)) {
      return `${at(inner)}expected ${show(value)}, saw no such entry`
    }
    const found = compare(left.get(same), value, inner, asData)
    if (found !== undefined) {
      return found
    }
    left.delete(same)
  }
  for (const [key, value] of left) {
    return `${at(`${path}[${show(key)}]`)}expected no such entry, saw ${show(value)}`
  }
  return undefined
}

type MapLike = ReadonlyMap<unknown, unknown> | HashMap.HashMap<unknown, unknown>
type SetLike = ReadonlySet<unknown> | HashSet.HashSet<unknown>

const isMap = (value: object): value is MapLike => value instanceof Map || HashMap.isHashMap(value)
const isSet = (value: object): value is SetLike => value instanceof Set || HashSet.isHashSet(value)
const entriesOf = (map: MapLike): Entries => Array.from(map)
const valuesOf = (set: SetLike): Entries => Array.from(set, (value) => [value, value] as const)

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null

const isArrayLike = (value: object): value is ArrayLike<unknown> & object =>
  Array.isArray(value) || (ArrayBuffer.isView(value) && "length" in value)

const prototypeOf = (value: object, asData: boolean): unknown => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return asData && prototype === null ? Object.prototype : prototype
}

const at = (path: string): string => (path === "" ? "" : `at ${path} `)
