/**
 * Catches functions that change what they are given.
 */
import * as Chunk from "effect/Chunk"
import * as Equal from "effect/Equal"
import * as HashMap from "effect/HashMap"
import * as HashSet from "effect/HashSet"
import { difference } from "../difference.ts"

/**
 * Freezes a value in depth and answers a check that says whether it was changed since, and where.
 *
 * Plain objects and arrays are frozen, so that a write to them throws on the spot. What freezing does not protect (maps, sets,
 * dates, buffers) or might break (instances of classes) is copied, compared, and put back, so that the next walk begins with
 * what this one began with.
 */
export const guard = (value: unknown, frozen: WeakSet<object>): (() => string | undefined) => {
  const checks: Array<() => string | undefined> = []
  protect(value, frozen, checks, new Set())
  return () => checks.map((check) => check()).find((found) => found !== undefined)
}

/** Answers whether all of it is frozen. Then it need not be looked at again. */
const protect = (
  value: unknown,
  frozen: WeakSet<object>,
  checks: Array<() => string | undefined>,
  seen: Set<object>
): boolean => {
  if (typeof value !== "object" || value === null || frozen.has(value)) {
    return true
  }
  if (seen.has(value)) {
    return false
  }
  seen.add(value)
  const prototype: unknown = Object.getPrototypeOf(value)
  const within = (values: Iterable<unknown>): boolean => {
    let all = true
    for (const each of values) {
      all = protect(each, frozen, checks, seen) && all
    }
    return all
  }
  // Persistent collections cannot be changed themselves, what is in them can.
  if (HashMap.isHashMap(value) || HashSet.isHashSet(value) || Chunk.isChunk(value)) {
    within(value as Iterable<unknown>)
    return false
  }
  if (prototype === null || prototype === Object.prototype || prototype === Array.prototype) {
    const all = within(Object.values(value))
    Object.freeze(value)
    if (all) {
      frozen.add(value)
    }
    return all
  }
  const copy = copyOf(value)
  // Effect's own values compute some of their fields when first asked. That is no change.
  const isLazy = Equal.isEqual(value)
  checks.push(() => {
    const found = difference(isLazy ? fieldsOf(value, Object.keys(copy)) : copyOf(value), copy)
    if (found !== undefined) {
      putBack(value, copy)
    }
    return found
  })
  within(
    value instanceof Map ? [...value.keys(), ...value.values()] : value instanceof Set ? value : Object.values(value)
  )
  return false
}

type Copy =
  | ReadonlyArray<readonly [unknown, unknown]>
  | ReadonlyArray<unknown>
  | number
  | Uint8Array
  | { readonly [field: string]: unknown }

/** One level of it: what is within is looked at by itself. */
const copyOf = (value: object): Copy => {
  if (value instanceof Map || value instanceof Set) {
    return Array.from<unknown>(value)
  }
  if (value instanceof Date) {
    return value.getTime()
  }
  return ArrayBuffer.isView(value)
    ? bytesOf(value).slice()
    : Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined || !Equal.isEqual(value)))
}

const fieldsOf = (value: object, keys: ReadonlyArray<string>): Copy =>
  Object.fromEntries(keys.map((key) => [key, (value as Record<string, unknown>)[key]]))

const putBack = (value: object, copy: Copy): void => {
  if (value instanceof Map) {
    value.clear()
    for (const [key, each] of copy as ReadonlyArray<readonly [unknown, unknown]>) {
      value.set(key, each)
    }
  } else if (value instanceof Set) {
    value.clear()
    for (const each of copy as ReadonlyArray<unknown>) {
      value.add(each)
    }
  } else if (value instanceof Date) {
    value.setTime(copy as number)
  } else if (ArrayBuffer.isView(value)) {
    bytesOf(value).set(copy as Uint8Array)
  } else {
    Object.assign(value, copy)
  }
}

const bytesOf = (view: ArrayBufferView): Uint8Array => new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
