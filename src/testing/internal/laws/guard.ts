/**
 * Catches functions that change what they are given.
 */
import * as Chunk from "effect/Chunk"
import * as HashMap from "effect/HashMap"
import * as HashSet from "effect/HashSet"
import { difference } from "../difference.ts"

/**
 * Freezes a value in depth and answers a check that says whether it was changed since, and where.
 *
 * Plain objects and arrays are frozen, so that a write to them throws on the spot. What freezing does not protect (maps, sets,
 * dates, buffers) or might break (instances of classes) is copied and compared.
 */
export const guard = (value: unknown, frozen: WeakSet<object>): (() => string | undefined) => {
  const checks: Array<() => string | undefined> = []
  protect(value, frozen, checks, new Set())
  return () => {
    for (const check of checks) {
      const found = check()
      if (found !== undefined) {
        return found
      }
    }
    return undefined
  }
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
  // Persistent collections have no fields of their own to speak of.
  if (seen.has(value) || HashMap.isHashMap(value) || HashSet.isHashSet(value) || Chunk.isChunk(value)) {
    return !seen.has(value)
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
  if (prototype === null || prototype === Object.prototype || prototype === Array.prototype) {
    const all = within(Object.values(value))
    Object.freeze(value)
    if (all) {
      frozen.add(value)
    }
    return all
  }
  const copy = copyOf(value)
  checks.push(() => difference(copyOf(value), copy))
  within(
    value instanceof Map ? [...value.keys(), ...value.values()] : value instanceof Set ? value : Object.values(value)
  )
  return false
}

/** One level of it: what is within is looked at by itself. */
const copyOf = (value: object): unknown => {
  if (value instanceof Map || value instanceof Set) {
    return Array.from<unknown>(value)
  }
  if (value instanceof Date) {
    return value.getTime()
  }
  if (ArrayBuffer.isView(value)) {
    return Array.from(new Uint8Array(value.buffer, value.byteOffset, value.byteLength))
  }
  return { ...value }
}
