/**
 * Finds where two values differ, to say it in a failure.
 */
import * as Formatter from "effect/Formatter"

/**
 * The first place where two values differ, in words; `undefined` when they are the same.
 *
 * Same means: the same prototype, the same own enumerable fields in any order, and leaves that `Object.is` calls the same,
 * so that `0` and `-0` differ. Looks at the values each time; `Equal` remembers hashes, which would hide a later change.
 */
export const difference = (actual: unknown, expected: unknown, path = ""): string | undefined => {
  if (Object.is(actual, expected)) {
    return undefined
  }
  if (!isObject(actual) || !isObject(expected)) {
    return `${at(path)}expected ${show(expected)}, saw ${show(actual)}`
  }
  if (Object.getPrototypeOf(actual) !== Object.getPrototypeOf(expected)) {
    return `${at(path)}expected ${show(expected)}, saw ${show(actual)}, which is of another kind`
  }
  if (Array.isArray(actual) && Array.isArray(expected) && actual.length !== expected.length) {
    return `${at(path)}expected ${expected.length} elements, ${show(expected)}, saw ${actual.length}, ${show(actual)}`
  }
  for (const key of new Set([...Object.keys(expected), ...Object.keys(actual)])) {
    const inner = `${path}[${Array.isArray(expected) ? key : JSON.stringify(key)}]`
    if (!Object.hasOwn(actual, key)) {
      return `${at(inner)}expected ${show(expected[key])}, saw no such field`
    }
    if (!Object.hasOwn(expected, key)) {
      return `${at(inner)}expected no such field, saw ${show(actual[key])}`
    }
    const found = difference(actual[key], expected[key], inner)
    if (found !== undefined) {
      return found
    }
  }
  return undefined
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null

const at = (path: string): string => (path === "" ? "" : `at ${path} `)

/**
 * A value in words, cut short when it is long.
 */
export const show = (value: unknown): string => {
  const text = Formatter.format(value)
  return text.length > 300 ? `${text.slice(0, 300)}…` : text
}
