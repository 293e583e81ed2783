/**
 * Compares ways of doing the same work as ratios within one run.
 *
 * All contestants run in turn, round by round, so that a slow moment of the machine hits each of them. A contestant's
 * figure is the median over the rounds of its work per second; its ratio is the median over the rounds of its figure
 * against the floor's figure of the same round.
 */
import { performance } from "node:perf_hooks"

export interface Contestant {
  readonly name: string
  /** Does the work once and says how many units it did. */
  readonly run: () => number | Promise<number>
  /** The least ratio to the floor, or the least rate, that the project asks of itself. */
  readonly bar?: { readonly ratio: number } | { readonly perSecond: number } | undefined
}

export interface Figure {
  readonly name: string
  readonly perSecond: number
  readonly ratio: number
  readonly bar: string | undefined
  readonly passed: boolean
}

/** The first contestant is the floor. */
export const compare = async (
  contestants: readonly [Contestant, ...Array<Contestant>],
  options: { readonly rounds: number; readonly warmups: number }
): Promise<ReadonlyArray<Figure>> => {
  const rates = contestants.map((): Array<number> => [])
  for (let round = -options.warmups; round < options.rounds; round++) {
    for (const [i, contestant] of contestants.entries()) {
      globalThis.gc?.()
      const start = performance.now()
      const units = await contestant.run()
      const seconds = (performance.now() - start) / 1000
      if (round >= 0) {
        rates[i]!.push(units / seconds)
      }
    }
  }
  return contestants.map((contestant, i): Figure => {
    const perSecond = median(rates[i]!)
    const ratio = median(rates[i]!.map((rate, round) => rate / rates[0]![round]!))
    const { bar, name } = contestant
    return {
      name,
      perSecond,
      ratio,
      bar: bar === undefined ? undefined : "ratio" in bar ? `≥ ${bar.ratio}` : `≥ ${count(bar.perSecond)}/s`,
      passed: bar === undefined || ("ratio" in bar ? ratio >= bar.ratio : perSecond >= bar.perSecond)
    }
  })
}

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export const count = (value: number): string => Math.round(value).toLocaleString("en-US")
