/**
 * Random programs on a store: what they are made of, and how they are made smaller and shown.
 */
import type { Chance } from "../chance.ts"

/**
 * One thing done to a store. Streams and events go by short names, which mean new ones in each run.
 */
export type Step =
  | { readonly do: "append"; readonly writes: ReadonlyArray<NamedWrite>; readonly unless?: NamedCondition | undefined }
  | { readonly do: "transaction"; readonly steps: ReadonlyArray<Step>; readonly commits: boolean }
  | { readonly do: "load"; readonly stream: string; readonly after: number }
  | {
      readonly do: "readStream"
      readonly stream: string
      readonly after: number
      readonly upTo: number
      readonly direction: "forward" | "backward"
      readonly limit: number
    }
  | { readonly do: "version"; readonly stream: string }
  | { readonly do: "close"; readonly stream: string }
  | {
      readonly do: "read"
      readonly tag: string | undefined
      readonly type: string | undefined
      readonly direction: "forward" | "backward"
      readonly limit: number
    }
  | { readonly do: "streams" }

/**
 * A write by short names.
 */
export interface NamedWrite {
  readonly stream: string
  readonly expected: number | "any" | "exists" | "none"
  readonly events: ReadonlyArray<string>
}

/**
 * A condition: that among the last events of the program so far none matches.
 */
export interface NamedCondition {
  readonly tag: string | undefined
  readonly type: string | undefined
  readonly last: number
}

/**
 * What an event is follows from its name, so that a repeat is one.
 */
export const typeOf = (event: string) => (Number(event.slice(1)) % 3 === 0 ? "Third" : "Other")
export const tagsOf = (event: string) => (Number(event.slice(1)) % 2 === 0 ? ["even", "any"] : ["any"])

/**
 * The streams, in the order of their names.
 */
export const names = ["a", "b", "c"] as const

/**
 * All that there is, which every program ends with.
 */
export const everything: Step = { do: "read", tag: undefined, type: undefined, direction: "forward", limit: 10_000 }

/**
 * A program of so many steps. Names of events come up again, so that there are repeats, whole and partial.
 */
export const generate = (chance: Chance, length: number): ReadonlyArray<Step> => {
  let drawn = 0
  const made: Array<NamedWrite> = []
  const freshEvents = (count: number) => Array.from({ length: count }, () => `e${++drawn}`)
  const someEvents = (): ReadonlyArray<string> => {
    const fresh = freshEvents(chance.below(4))
    return chance.happens(0.8) || drawn === 0 ? fresh : [...new Set([...fresh, `e${1 + chance.below(drawn)}`])]
  }
  const write = (stream: string): NamedWrite => {
    const again = made.length > 0 && chance.happens(0.25) ? chance.pick(made as [NamedWrite]) : undefined
    const one: NamedWrite =
      again !== undefined
        ? { ...again, stream: chance.happens(0.9) ? again.stream : stream }
        : {
            stream,
            expected: chance.pick(["any", "any", "exists", "none", "none", chance.below(4), chance.below(8)]),
            events: someEvents()
          }
    made.push(one)
    return one
  }
  const writes = (): ReadonlyArray<NamedWrite> => {
    const streams = chance.happens(0.75) ? [chance.pick(names)] : names.filter(() => chance.happens(0.6))
    const all = streams.map(write)
    // A stream may stand in an append once.
    const distinct = all.filter((one, i) => all.findIndex(({ stream }) => stream === one.stream) === i)
    return distinct.length > 0 ? distinct : [write(chance.pick(names))]
  }
  const direction = () => chance.pick(["forward", "backward"] as const)
  const step = (depth: number): Step => {
    const kind = chance.below(depth < 2 ? 15 : 13)
    const stream = chance.pick(names)
    if (kind < 7) {
      const unless = chance.happens(0.25)
        ? {
            tag: chance.pick([undefined, "even", "any", "none"]),
            type: chance.pick([undefined, "Third", "Other"]),
            last: chance.below(4)
          }
        : undefined
      return { do: "append", writes: writes(), unless }
    }
    switch (kind) {
      case 7:
        return { do: "load", stream, after: chance.below(4) }
      case 8:
        return {
          do: "readStream",
          stream,
          after: chance.below(3),
          upTo: 1 + chance.below(8),
          direction: direction(),
          limit: 1 + chance.below(5)
        }
      case 9:
        return { do: "version", stream }
      case 10:
        return {
          do: "read",
          tag: chance.pick([undefined, "even", "any", "none"]),
          type: chance.pick([undefined, "Third", "Other"]),
          direction: direction(),
          limit: 1 + chance.below(20)
        }
      case 11:
        return { do: "streams" }
      case 12:
        // Rarely, for nothing is written to the stream from then on.
        return chance.happens(0.3) ? { do: "close", stream } : { do: "append", writes: writes() }
      default:
        return {
          do: "transaction",
          steps: Array.from({ length: 1 + chance.below(4) }, () => step(depth + 1)),
          commits: chance.happens(0.6)
        }
    }
  }
  return Array.from({ length }, () => step(0))
}

/**
 * Smaller programs: without some steps, without some writes or events, without a transaction around its steps.
 */
export const smaller = (program: ReadonlyArray<Step>): ReadonlyArray<ReadonlyArray<Step>> => {
  const candidates: Array<ReadonlyArray<Step>> = []
  for (let size = program.length >> 1; size >= 1; size >>= 1) {
    for (let start = 0; start < program.length; start += size) {
      candidates.push([...program.slice(0, start), ...program.slice(start + size)])
    }
  }
  const replaced = (i: number, ...steps: ReadonlyArray<Step>) => [
    ...program.slice(0, i),
    ...steps,
    ...program.slice(i + 1)
  ]
  for (const [i, step] of program.entries()) {
    if (step.do === "transaction") {
      candidates.push(replaced(i, ...step.steps))
      for (const steps of smaller(step.steps)) {
        candidates.push(replaced(i, { ...step, steps }))
      }
    } else if (step.do === "append") {
      for (const [n, { events, ...write }] of step.writes.entries()) {
        const without = (writes: ReadonlyArray<NamedWrite>) => [
          ...step.writes.slice(0, n),
          ...writes,
          ...step.writes.slice(n + 1)
        ]
        if (step.writes.length > 1) {
          candidates.push(replaced(i, { ...step, writes: without([]) }))
        }
        for (const event of events) {
          const fewer = { ...write, events: events.filter((other) => other !== event) }
          candidates.push(replaced(i, { ...step, writes: without([fewer]) }))
        }
      }
      if (step.unless !== undefined) {
        candidates.push(replaced(i, { ...step, unless: undefined }))
      }
    }
  }
  return candidates
}

/**
 * A step in words.
 */
export const format = (step: Step, indent = ""): string => {
  switch (step.do) {
    case "append":
      return `${indent}append ${step.writes
        .map(({ events, expected, stream }) => `[${events.join(" ")}] to ${stream} expecting ${expected}`)
        .join(", and ")}${step.unless === undefined ? "" : ` unless ${JSON.stringify(step.unless)}`}`
    case "transaction":
      return [
        `${indent}transaction that ${step.commits ? "commits" : "rolls back"}`,
        ...step.steps.map((one) => format(one, `${indent}  `))
      ].join("\n")
    default:
      return indent + JSON.stringify(step)
  }
}
