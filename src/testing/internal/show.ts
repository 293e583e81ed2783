/**
 * Puts values into words, for the messages of failures.
 */
import * as Formatter from "effect/Formatter"
import * as HashMap from "effect/HashMap"
import * as HashSet from "effect/HashSet"
import * as Option from "effect/Option"
import * as Result from "effect/Result"

/**
 * A value on one line, cut short when it is long.
 *
 * It reads like the code that makes the value: `ItemAdded { sku: "tea", price: 450 }` for what has a `_tag`, fields without
 * quotes where they need none, the content of maps and sets.
 */
export const show = (value: unknown, limit = 300): string => {
  const text = write(value, new Set())
  return text.length > limit ? `${text.slice(0, limit)}…` : text
}

const write = (value: unknown, above: Set<object>): string => {
  if (Object.is(value, -0)) {
    return "-0"
  }
  if (typeof value !== "object" || value === null) {
    return typeof value === "function" ? `function ${value.name}` : Formatter.format(value)
  }
  if (above.has(value)) {
    return "[circular]"
  }
  above.add(value)
  const text = writeObject(value, above)
  above.delete(value)
  return text
}

const writeObject = (value: object, above: Set<object>): string => {
  const list = (values: Iterable<unknown>) => Array.from(values, (each) => write(each, above)).join(", ")
  if (Array.isArray(value)) {
    return `[${list(value)}]`
  }
  if (value instanceof Map || HashMap.isHashMap(value)) {
    const entries = Array.from(value as Iterable<readonly [unknown, unknown]>)
    return `Map {${padded(entries.map(([key, each]) => `${write(key, above)} => ${write(each, above)}`).join(", "))}}`
  }
  if (value instanceof Set || HashSet.isHashSet(value)) {
    return `Set {${padded(list(value as Iterable<unknown>))}}`
  }
  if (Result.isResult(value)) {
    return Result.isSuccess(value) ? `succeed(${write(value.success, above)})` : `fail(${write(value.failure, above)})`
  }
  if (Option.isOption(value)) {
    return Option.isSome(value) ? `some(${write(value.value, above)})` : "none"
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  const isPlain = prototype === null || prototype === Object.prototype
  const keys = Object.keys(value)
  const tag: unknown = (value as { readonly _tag?: unknown })._tag
  if (!isPlain && (typeof tag !== "string" || !keys.includes("_tag"))) {
    // Others say themselves what they are: dates, numbers of any size, classes.
    return value instanceof Error && keys.length === 0 ? `${value.name}: ${value.message}` : Formatter.format(value)
  }
  const fields = keys
    .filter((key) => key !== "_tag" || typeof tag !== "string")
    .map((key) => `${name(key)}: ${write((value as Record<string, unknown>)[key], above)}`)
  return typeof tag === "string"
    ? fields.length === 0
      ? tag
      : `${tag} { ${fields.join(", ")} }`
    : `{${padded(fields.join(", "))}}`
}

const padded = (text: string): string => (text === "" ? "" : ` ${text} `)

const name = (key: string): string => (/^[A-Za-z_$][\w$]*$/.test(key) ? key : JSON.stringify(key))
