/**
 * Private copies of JSON values: checked, frozen, and with nothing in them that some store could not hold.
 */
import type * as Schema from "effect/Schema"

/**
 * Deeper nesting is refused: PostgreSQL and JSON parsers overflow their stacks on it, and a cycle has no end.
 */
export const maxDepth = 256

/**
 * What no store can hold in a text, if anything.
 */
export const textIssue = (text: string): string | undefined =>
  text.includes("\u0000")
    ? "it contains the character U+0000"
    : text.isWellFormed()
      ? undefined
      : "it contains a lone surrogate (half of a character)"

/**
 * The length of a text in UTF-8.
 */
export const utf8Length = (text: string): number => {
  let bytes = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    // Two surrogates make four bytes, so each adds one.
    bytes += unit < 0x80 ? 0 : unit < 0x800 ? 1 : unit >= 0xd800 && unit <= 0xdfff ? 1 : 2
  }
  return bytes
}

/**
 * The text of a JSON value, the same for objects that have the same fields in another order.
 */
export const canonical = (value: Schema.Json): string => {
  if (typeof value !== "object" || value === null) {
    return JSON.stringify(value)
  }
  if (isArray(value)) {
    return `[${value.map(canonical).join()}]`
  }
  const fields = Object.keys(value).sort()
  return `{${fields.map((field) => `${JSON.stringify(field)}:${canonical(value[field]!)}`).join()}}`
}

const isArray = (value: Schema.Json & object): value is Schema.JsonArray => Array.isArray(value)

/**
 * Copies and freezes JSON values, `-0` as `0`. One copier serves many values, which spares a hot path its allocations.
 */
export class Copier {
  /** An upper bound of the bytes that all copied values take as JSON text; small ones need no measuring. */
  maxBytes = 0
  private issue: string | undefined = undefined
  /** Where the issue is; filled from the inside out. */
  private path: ReadonlyArray<string | number> = top

  /**
   * A private copy, or `undefined` when the value is not plain JSON: then `takeIssue` says why.
   */
  copy<A extends Schema.Json>(value: A): A | undefined {
    const copied = this.value(value, 0) as A
    return this.issue === undefined ? copied : undefined
  }

  takeIssue(): string {
    const issue = `${this.issue} at ${this.path.length === 0 ? "the top" : pathOf(this.path)}`
    this.issue = undefined
    this.path = top
    return issue
  }

  private value(value: unknown, depth: number): Schema.Json {
    switch (typeof value) {
      case "string":
        return this.text(value)
      case "number":
        this.maxBytes += 25
        return Number.isFinite(value) ? value + 0 : this.fail(`${value} is no JSON number`)
      case "boolean":
        this.maxBytes += 5
        return value
      case "object":
        if (value === null) {
          this.maxBytes += 4
          return null
        }
        if (depth === maxDepth) {
          return this.fail(`it is nested deeper than ${maxDepth} levels`)
        }
        return Array.isArray(value) ? this.array(value, depth) : this.object(value, depth)
      default:
        return this.fail(`${typeof value} is no JSON value`)
    }
  }

  private array(values: ReadonlyArray<unknown>, depth: number): Schema.Json {
    const copied: Array<Schema.Json> = []
    this.maxBytes += 2
    for (let i = 0; i < values.length; i++) {
      copied.push(this.value(values[i], depth + 1))
      this.maxBytes += 1
      if (this.issue !== undefined) {
        this.path = [i, ...this.path]
        return null
      }
    }
    return Object.freeze(copied)
  }

  private object(value: object, depth: number): Schema.Json {
    const prototype = Object.getPrototypeOf(value)
    if (prototype !== Object.prototype && prototype !== null) {
      return this.fail(`a ${prototype.constructor?.name ?? "class"} instance is no JSON value`)
    }
    this.maxBytes += 2
    let copied: Record<string, Schema.Json> | undefined
    for (const key in value) {
      if (!Object.hasOwn(value, key)) {
        continue
      }
      this.text(key)
      const member = this.issue === undefined ? this.value((value as Record<string, unknown>)[key], depth + 1) : null
      this.maxBytes += 2
      if (this.issue !== undefined) {
        this.path = [key, ...this.path]
        return null
      }
      copied ??= {}
      if (key === "__proto__") {
        // Assigning it would change the prototype; JSON.parse makes it a field like any other.
        Object.defineProperty(copied, key, { value: member, enumerable: true, configurable: true, writable: true })
      } else {
        copied[key] = member
      }
    }
    if (copied === undefined) {
      return emptyObject
    }
    return Object.freeze(copied)
  }

  private text(text: string): string {
    // An escaped control character takes six bytes.
    this.maxBytes += text.length * 6 + 2
    const issue = textIssue(text)
    return issue === undefined ? text : (this.fail(issue) ?? text)
  }

  private fail(issue: string): null {
    this.issue ??= issue
    return null
  }
}

const top: ReadonlyArray<string | number> = []

// Most events have no metadata.
const emptyObject: Schema.JsonObject = Object.freeze({})

const pathOf = (path: ReadonlyArray<string | number>): string =>
  path.map((key) => (typeof key === "number" ? `[${key}]` : `[${JSON.stringify(key)}]`)).join("")
