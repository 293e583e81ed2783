/**
 * Takes clocks and randomness away from a function, to see whether it reaches for them.
 */
import * as Data from "effect/Data"

/**
 * A pure function asked for the time or for chance.
 */
export class Poisoned extends Data.TaggedError("Poisoned")<{ readonly source: string }> {
  override get message(): string {
    return `it calls ${this.source}`
  }
}

interface Outcome<A> {
  readonly result: { readonly value: A } | { readonly thrown: unknown }
  /** What it asked first, also when it caught the refusal. */
  readonly impure: string | undefined
}

/**
 * Runs a function with `Date.now`, `new Date()`, `Math.random`, `performance.now`, `crypto.randomUUID` and
 * `crypto.getRandomValues` refusing. They are put back whatever happens.
 *
 * `new Date(value)` is pure and stays. What took a reference to one of these functions before cannot be stopped.
 */
export const withoutClock = <A>(run: () => A): Outcome<A> => {
  let impure: string | undefined
  const refuse = (source: string) => () => {
    impure ??= source
    throw new Poisoned({ source })
  }
  const restore: Array<() => void> = []
  const replace = (owner: object | undefined, key: string, value: unknown) => {
    if (owner === undefined) {
      return
    }
    const own = Object.getOwnPropertyDescriptor(owner, key)
    if ((own === undefined && !Object.isExtensible(owner)) || own?.configurable === false) {
      return
    }
    Object.defineProperty(owner, key, {
      value,
      configurable: true,
      writable: true,
      enumerable: own?.enumerable ?? false
    })
    restore.push(() =>
      own === undefined ? Reflect.deleteProperty(owner, key) : Object.defineProperty(owner, key, own)
    )
  }

  const RealDate = globals.Date
  const now = refuse("new Date()")
  replace(RealDate, "now", refuse("Date.now()"))
  replace(globals.Math, "random", refuse("Math.random()"))
  replace(globals.performance, "now", refuse("performance.now()"))
  replace(globals.crypto, "randomUUID", refuse("crypto.randomUUID()"))
  replace(globals.crypto, "getRandomValues", refuse("crypto.getRandomValues()"))
  replace(
    globals,
    "Date",
    new Proxy(RealDate, {
      apply: now,
      construct: (target, values, self) => (values.length === 0 ? now() : Reflect.construct(target, values, self))
    })
  )
  try {
    return { result: { value: run() }, impure }
  } catch (thrown) {
    return { result: { thrown }, impure }
  } finally {
    for (const undo of restore.reverse()) {
      undo()
    }
  }
}

/** Not all platforms have all of them, and the kit is typed for none. */
const globals = globalThis as unknown as {
  readonly Date: DateConstructor
  readonly Math: object
  readonly performance?: object
  readonly crypto?: object
}
