/**
 * Makes a list of commands that breaks a law shorter and its values plainer.
 *
 * Shrinking of generated steps goes first and does most of it. What it cannot do is take away a command that others refer
 * to. Here the commands are taken as they were spoken, so that each stands for itself.
 */

/** The plainest list found that still fails. Looks at no more than `budget` lists. */
export const simplify = <Command>(
  commands: ReadonlyArray<Command>,
  fails: (commands: ReadonlyArray<Command>) => boolean,
  isCommand: ((value: unknown) => boolean) | undefined,
  budget = 1000
): ReadonlyArray<Command> => {
  let best = commands
  let left = budget
  const attempt = (candidate: ReadonlyArray<Command>): boolean => {
    if (left-- <= 0 || !fails(candidate)) {
      return false
    }
    best = candidate
    return true
  }
  let isBetter: boolean
  do {
    isBetter = false
    for (let size = Math.max(1, best.length >> 1); size >= 1; size >>= 1) {
      for (let at = best.length - size; at >= 0; at--) {
        // It may have become shorter on the way.
        if (at + size <= best.length && attempt(best.toSpliced(at, size))) {
          isBetter = true
        }
      }
    }
    if (isCommand !== undefined) {
      for (let at = 0; at < best.length; at++) {
        for (const plainer of variants(best[at])) {
          if (isCommand(plainer) && attempt(best.with(at, plainer as Command))) {
            isBetter = true
            break
          }
        }
      }
    }
  } while (isBetter)
  return best
}

/** The same value with one part of it plainer. Instances of classes stay as they are. */
const variants = function* (value: unknown): Generator {
  switch (typeof value) {
    case "number":
      yield* [0, 1, Math.trunc(value / 2), value - Math.sign(value)].filter((each) => Math.abs(each) < Math.abs(value))
      return
    case "string":
      yield* ["", "a", "b", "c"].filter((each) => each.length < value.length || isOdd(value))
      return
    case "object":
      break
    default:
      return
  }
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      yield value.toSpliced(i, 1)
    }
    for (let i = 0; i < value.length; i++) {
      for (const plainer of variants(value[i])) {
        yield value.with(i, plainer)
      }
    }
    return
  }
  const prototype: unknown = value && Object.getPrototypeOf(value)
  if (value !== null && (prototype === null || prototype === Object.prototype)) {
    for (const [key, each] of Object.entries(value)) {
      if (key !== "_tag") {
        for (const plainer of variants(each)) {
          yield { ...value, [key]: plainer }
        }
      }
    }
  }
}

/** Whether a text is other than the plain ones, so that putting one of those in its place gets somewhere. */
const isOdd = (text: string): boolean => text.length === 1 && !/^[abc]$/.test(text)
