/**
 * Compares ways of doing the same work as ratios within one run.
 *
 * All contestants run in turn, round by round, so that a slow moment of the machine hits each of them. A contestant's
 * figure is the median over the rounds of its work per second; its ratio is the median over the rounds of its figure
 * against the floor's figure of the same round.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { performance } from "node:perf_hooks"

/** What one round did. Without `seconds` the clock stood around the whole run. */
export interface Measured {
  readonly units: number
  readonly seconds?: number | undefined
  /** The milliseconds each operation took, sorted. */
  readonly latencies?: ReadonlyArray<number> | undefined
  /** Other figures, by their names with units. */
  readonly notes?: Readonly<Record<string, number>> | undefined
}

/** What the project asks of itself: the least ratio, the least rate, the longest times in milliseconds. */
export interface Bar {
  readonly ratio?: number | undefined
  /** The name of the contestant that this ratio is to. Default: the one that the contestant's own ratio is to. */
  readonly of?: string | undefined
  readonly perSecond?: number | undefined
  readonly p50?: number | undefined
  readonly p99?: number | undefined
}

export interface Contestant {
  readonly name: string
  /** What it is in a chart. Default: the first one is the floor, the others are ours. */
  readonly kind?: Kind | undefined
  /** Does the work once and says how many units it did. */
  readonly run: Effect.Effect<number | Measured, unknown>
  readonly bar?: Bar | ReadonlyArray<Bar> | undefined
  /** The name of the contestant that the ratio is to. Default: the first one. */
  readonly of?: string | undefined
}

export type Kind = "floor" | "ours" | "peer"

export interface Figure {
  readonly name: string
  readonly kind: Kind
  /** In the unit of the section. */
  readonly value: number
  readonly ratio: number
  readonly of?: string
  /** The ratio of each round: how far they lie apart says how much to trust their median. */
  readonly ratios?: ReadonlyArray<number>
  readonly p50?: number
  readonly p99?: number
  readonly notes?: Readonly<Record<string, number>>
  readonly bar?: string
  readonly passed: boolean
}

/** A table of figures. */
export interface Section {
  readonly title: string
  readonly unit: string
  readonly run: Effect.Effect<ReadonlyArray<Figure>, unknown>
}

export interface Options {
  /** Seconds instead of minutes, and figures that say that it works but not how fast. */
  readonly quick: boolean
  /** How many events the read of everything reads. */
  readonly events: number
}

/** The sections, and what they run on. */
export interface Suite {
  readonly facts: Readonly<Record<string, string>>
  readonly sections: ReadonlyArray<Section>
}

export type OpenSuite = (options: Options) => Effect.Effect<Suite, unknown, Scope.Scope>

/** The benchmark cannot be run like this. The message says why. */
export class CannotRun extends Data.TaggedError("CannotRun")<{ readonly message: string }> {}

/** Told what runs at the moment. */
export const Progress = Context.Reference<(step: string) => void>("bench/Progress", { defaultValue: () => () => {} })

export interface Rounds {
  readonly rounds: number
  readonly warmups: number
}

/** The first contestant is the floor. */
export const compare = Effect.fnUntraced(function* (
  contestants: readonly [Contestant, ...Array<Contestant>],
  { rounds, warmups }: Rounds
) {
  const progress = yield* Progress
  const measured = contestants.map((): Array<Measured & { readonly perSecond: number }> => [])
  for (let round = -warmups; round < rounds; round++) {
    for (const [i, contestant] of contestants.entries()) {
      progress(`${round < 0 ? "warm-up" : `round ${round + 1} of ${rounds}`}, ${contestant.name}`)
      globalThis.gc?.()
      const start = performance.now()
      const answer = yield* contestant.run
      const elapsed = (performance.now() - start) / 1000
      const result = typeof answer === "number" ? { units: answer } : answer
      if (round >= 0) {
        measured[i]!.push({ ...result, perSecond: result.units / (result.seconds ?? elapsed) })
      }
    }
  }
  return contestants.map((contestant, i): Figure => {
    const { bar, name, of } = contestant
    const mine = measured[i]!
    const value = median(mine.map(({ perSecond }) => perSecond))
    const ratiosTo = (name: string | undefined) => {
      const floor = measured[name === undefined ? 0 : contestants.findIndex((other) => other.name === name)]!
      return mine.map(({ perSecond }, round) => perSecond / floor[round]!.perSecond)
    }
    const ratios = ratiosTo(of)
    const ratio = median(ratios)
    const bars = (bar === undefined ? [] : [bar].flat()).map((one: Bar) => ({
      ...one,
      found: one.of === undefined ? ratio : median(ratiosTo(one.of))
    }))
    const ofLatencies = (q: number) =>
      mine.every(({ latencies }) => latencies !== undefined && latencies.length > 0)
        ? median(mine.map(({ latencies }) => quantile(latencies!, q)))
        : undefined
    const p50 = ofLatencies(0.5)
    const p99 = ofLatencies(0.99)
    const notes = Array.from(
      new Set(mine.flatMap(({ notes }) => Object.keys(notes ?? {}))),
      (note) => [note, round(median(mine.map(({ notes }) => notes?.[note] ?? 0)))] as const
    )
    return {
      name,
      kind: contestant.kind ?? (i === 0 ? "floor" : "ours"),
      value: round(value),
      ratio: round(ratio),
      ...(of !== undefined && { of }),
      ratios: ratios.map(round),
      ...(p50 !== undefined && { p50: round(p50) }),
      ...(p99 !== undefined && { p99: round(p99) }),
      ...(notes.length > 0 && { notes: Object.fromEntries(notes) }),
      ...(bars.length > 0 && { bar: bars.map(barText).join(", ") }),
      passed: bars.every(
        (bar) =>
          bar.found >= (bar.ratio ?? 0) &&
          value >= (bar.perSecond ?? 0) &&
          (bar.p50 === undefined || (p50 !== undefined && p50 <= bar.p50)) &&
          (bar.p99 === undefined || (p99 !== undefined && p99 <= bar.p99))
      )
    }
  })
})

const barText = ({ found, of, p50, p99, perSecond, ratio }: Bar & { readonly found: number }): string =>
  [
    ...(ratio === undefined ? [] : [`≥ ${ratio}${of === undefined ? "" : ` of ${of} (${found.toFixed(2)})`}`]),
    ...(perSecond === undefined ? [] : [`≥ ${count(perSecond)}/s`]),
    ...(p50 === undefined ? [] : [`p50 ≤ ${p50} ms`]),
    ...(p99 === undefined ? [] : [`p99 ≤ ${p99} ms`])
  ].join(", ")

/**
 * So many callers at once, each doing one operation after the other until the time is over or all are done.
 *
 * `operation` is called once per caller, so that each can have a state of its own. An operation that succeeds with `false`
 * was refused: it is counted apart.
 */
export const loop = <E>(
  options: {
    readonly callers: number
    readonly limit: { readonly seconds: number } | { readonly operations: number }
    /** Units per operation. */
    readonly size?: number | undefined
  },
  operation: (caller: number) => () => Effect.Effect<unknown, E>
): Effect.Effect<Measured, E> =>
  Effect.suspend(() => {
    const { callers, limit, size = 1 } = options
    const latencies: Array<number> = []
    let refused = 0
    let left = "operations" in limit ? limit.operations : Infinity
    const start = performance.now()
    const end = "seconds" in limit ? start + limit.seconds * 1000 : Infinity
    const caller = Effect.fnUntraced(function* (index: number) {
      const next = operation(index)
      for (let now = performance.now(); left > 0 && now < end;) {
        left--
        if ((yield* next()) === false) {
          refused++
        }
        const after = performance.now()
        latencies.push(after - now)
        now = after
      }
    })
    return Effect.map(
      Effect.forEach(Array.from({ length: callers }).keys(), caller, { concurrency: "unbounded", discard: true }),
      (): Measured => ({
        units: (latencies.length - refused) * size,
        seconds: (performance.now() - start) / 1000,
        latencies: latencies.sort((a, b) => a - b),
        ...(refused > 0 && { notes: { "% refused": (100 * refused) / latencies.length } })
      })
    )
  })

/** Figures that are not rates, such as sizes; the first one is the floor. */
export const facts = (values: ReadonlyArray<readonly [name: string, value: number]>): ReadonlyArray<Figure> =>
  values.map(([name, value], i) => ({
    name,
    kind: i === 0 ? "floor" : "ours",
    value: round(value),
    ratio: round(value / values[0]![1]),
    passed: true
  }))

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

const quantile = (sorted: ReadonlyArray<number>, q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]!

// Five digits: more would only look exact.
const round = (value: number): number => Number(value.toPrecision(5))

export const count = (value: number): string => Math.round(value).toLocaleString("en-US")
